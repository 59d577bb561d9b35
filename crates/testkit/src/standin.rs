//! The stand-ins (`crates/standin`) for QEMU, Firecracker and its jailer: a real server that is given one has machines
//! that cost next to nothing and play their jobs, or the Firecracker driver without KVM.

// Only tests, the bench and soak link this crate, and there a failed setup is a failed run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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

/// The programs, at a place where every user may run them. They are one file with several names, for it is told by its
/// name what it stands in for.
fn directory() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let built = built();
        kept::made("standin", &std::fs::read(&built).unwrap(), ".d", |partial| {
            // Written by another process: see `program::write`.
            let script = r#"
                set -e
                mkdir -m 755 "$2"; install -m 755 "$1" "$2/fireactions-standin"
                for name in firecracker-played firecracker-emulated jailer; do
                    ln "$2/fireactions-standin" "$2/$name"
                done"#;
            let mut copy = Command::new("sh");
            copy.args(["-c", script, "sh"]).args([&built, partial]);
            assert!(copy.status().expect("sh runs").success(), "cannot write {}", partial.display());
        })
    })
    .clone()
}

/// What `make standin` built.
fn built() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let path = root.join("target/x86_64-unknown-linux-gnu/agent/fireactions-standin");
    assert!(path.is_file(), "{} is not there: run `make standin`", path.display());
    path
}
