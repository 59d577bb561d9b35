//! Images of this system's own release, for what BusyBox is too little for.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;

use crate::kept;

/// Docker on systemd, and what a test or a measurement needs beside them.
pub const SYSTEMD_WITH_DOCKER: [&str; 10] = [
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "docker.io",
    "apparmor",
    "iptables",
    "kmod",
    "iproute2",
    "ca-certificates",
    "busybox-static",
];

/// Reference of an image with these packages, made by `scripts/debian-image` where it is not there yet: a minute's work.
pub fn image(packages: &[&str]) -> String {
    made(packages, "")
}

/// The same with a user of this name (1000:1000), with a home and nothing else.
pub fn image_with_user(packages: &[&str], user: &str) -> String {
    made(packages, user)
}

/// An OCI archive of such an image with more layers above, as bytes. `image` is its reference.
pub fn with_layers(image: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let path = image.strip_prefix("oci-archive:").unwrap();
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    // Its one layer is larger than all else in it.
    let mut largest = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.size() > largest.len() as u64 {
            largest.clear();
            std::io::Read::read_to_end(&mut entry, &mut largest).unwrap();
        }
    }
    let all: Vec<Vec<u8>> = std::iter::once(largest).chain(layers.iter().cloned()).collect();
    crate::busybox::archive(&all)
}

fn made(packages: &[&str], user: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/debian-image");
    let packages = packages.join(",");
    let release = std::fs::read_to_string("/etc/os-release").unwrap();
    let words = format!("{packages} {user} {release}");
    let content = [std::fs::read(&script).unwrap(), words.into_bytes()].concat();
    let path = kept::made("debian", &content, ".oci.tar", |path| {
        let made = Command::new(&script).arg(path).args([packages.as_str(), user]).output().unwrap();
        assert!(made.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&made.stderr));
    });
    format!("oci-archive:{}", path.display())
}

/// Whether this system's release has a package of this name.
pub fn has(package: &str) -> bool {
    let known = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
    known.is_ok_and(|known| !known.stdout.is_empty())
}
