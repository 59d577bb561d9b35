//! The stand-in for QEMU (`crates/standin`): a real server that is given it as `vmm.qemu_binary` has machines that cost
//! next to nothing and play their jobs.

// Only tests, the bench and soak link this crate, and there a failed setup is a failed run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::busybox::hex;

/// The program, built if it is not up to date, at a place where every user may run it: machines have users of their
/// own, and those may have no way into the build's directory. The copy is named by its content.
pub fn program() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let built = built();
        let name =
            format!("fireactions-standin-{}", &hex(&Sha256::digest(std::fs::read(&built).unwrap()))[..16]);
        let path = std::env::temp_dir().join(name);
        if !path.exists() {
            // Written by another process, and renamed into place: see `program::write` and `busybox::reference`.
            let partial = path.with_extension(std::process::id().to_string());
            let copied = Command::new("install").args(["-m", "755"]).args([&built, &partial]).status();
            assert!(
                copied.expect("install (coreutils) runs").success(),
                "cannot write {}",
                partial.display()
            );
            std::fs::rename(&partial, &path).unwrap();
        }
        path
    })
    .clone()
}

fn built() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output =
        Command::new(root.join("scripts/build-standin")).output().expect("scripts/build-standin runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/build-standin failed: {said}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
