//! What real guests boot from: the kernel that `make setup` fetched and the agent that `make agent` built.

// Only tests link this, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use crate::skip;

/// A distribution's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `vmlinuz`.
    pub image: PathBuf,
    /// Its `lib/modules/VERSION`.
    pub modules: PathBuf,
}

/// The guest kernel: of the directory that `FIREACTIONS_KERNEL_DIR` names, or of the one that `make setup` fills.
///
/// # Panics
///
/// When it is not there, saying what to do.
pub fn kernel() -> Kernel {
    let dir = std::env::var_os("FIREACTIONS_KERNEL_DIR")
        .map_or_else(|| PathBuf::from("/var/cache/fireactions/kernel"), PathBuf::from);
    let image = dir.join("vmlinuz");
    assert!(image.is_file(), "{} is not there: run `make setup`", image.display());
    let modules = dir.join("lib/modules");
    let version = std::fs::read_dir(&modules).ok().and_then(|mut versions| versions.next()?.ok());
    let version = version.unwrap_or_else(|| panic!("{} is empty: run `make setup`", modules.display()));
    Kernel { image, modules: version.path() }
}

/// The kernel that `scripts/build-kernel` has built and `FIREACTIONS_CUSTOM_KERNEL` names. Without it says that `test` does not
/// run.
///
/// # Panics
///
/// When the file is not there.
pub fn custom_kernel(test: &str) -> Option<PathBuf> {
    let Some(image) = std::env::var_os("FIREACTIONS_CUSTOM_KERNEL").map(PathBuf::from) else {
        let why = "FIREACTIONS_CUSTOM_KERNEL names no vmlinux (`scripts/build-kernel DIR` builds one)";
        skip::say(skip::Kind::Kernel, test, why);
        return None;
    };
    assert!(image.is_file(), "FIREACTIONS_CUSTOM_KERNEL: {} is not there", image.display());
    Some(image)
}

/// The guest agent.
///
/// # Panics
///
/// When it is not built, saying what to do.
pub fn agent() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let path = root.join("target/x86_64-unknown-linux-gnu/agent/fireactions-agent");
    assert!(path.is_file(), "{} is not there: run `make agent`", path.display());
    path
}
