//! The stand-ins (`crates/standin`) for QEMU, Firecracker and its jailer: a real server that is given one has machines
//! that cost next to nothing and play their jobs, or the Firecracker driver without KVM.

// Only tests, the bench and soak link this crate, and there a failed setup is a failed run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::busybox::hex;
use crate::kept;

/// Which guests a stand-in Firecracker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// Played, at next to no cost.
    Played,
    /// Emulated by a real QEMU underneath, from the same kernel, initrd and drives.
    Emulated,
}

/// The stand-in for QEMU.
pub fn program() -> PathBuf {
    directory().join("fireactions-standin")
}

/// The stand-in for Firecracker.
pub fn firecracker(guest: Guest) -> PathBuf {
    directory().join(match guest {
        Guest::Played => "firecracker-played",
        Guest::Emulated => "firecracker-emulated",
    })
}

/// The stand-in for Firecracker's jailer.
pub fn jailer() -> PathBuf {
    directory().join("jailer")
}

/// The programs, built if they are not up to date, at a place where every user may run them: machines have users of
/// their own, and those may have no way into the build's directory. The directory is named by its content. They are
/// one file with several names, for it is told by its name what it stands in for.
fn directory() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let built = built();
        let rest = format!("{}.d", &hex(&Sha256::digest(std::fs::read(&built).unwrap()))[..16]);
        let path = kept::place("fireactions-standin-", &rest);
        if !path.exists() {
            // Written by another process, and renamed into place: see `program::write` and `busybox::reference`.
            let partial = path.with_extension(std::process::id().to_string());
            let script = r#"
                set -e
                mkdir -m 755 "$2"; install -m 755 "$1" "$2/fireactions-standin"
                for name in firecracker-played firecracker-emulated jailer; do
                    ln "$2/fireactions-standin" "$2/$name"
                done"#;
            let mut copy = Command::new("sh");
            copy.args(["-c", script, "sh"]).args([&built, &partial]);
            assert!(copy.status().expect("sh runs").success(), "cannot write {}", partial.display());
            // Another test may have been first.
            if std::fs::rename(&partial, &path).is_err() {
                std::fs::remove_dir_all(&partial).unwrap();
            }
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
