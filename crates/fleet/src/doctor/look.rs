//! Looking at this host: small files, programs and their versions.

use std::path::{Path, PathBuf};

pub(super) use crate::ask::{DEADLINE, ask};

/// A file of the kernel's, trimmed; `None` when it is not there.
pub(super) fn text(path: impl AsRef<Path>) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// A number in a file of the kernel's.
pub(super) fn number(path: impl AsRef<Path>) -> Option<u64> {
    text(path)?.parse().ok()
}

/// A program's file, with the system directories that a user's `PATH` may lack.
pub(super) fn locate(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The first three numbers of a version in a text: `QEMU emulator version 7.2.9 (Debian)` → (7, 2, 9).
pub(super) fn version(text: &str) -> Option<(u32, u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches('v');
        let mut parts = word.split(|c: char| !c.is_ascii_digit());
        let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((major, minor, parts.next().and_then(|part| part.parse().ok()).unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, is) in [
            ("QEMU emulator version 7.2.9 (Debian 1:7.2+dfsg-7)", Some((7, 2, 9))),
            ("Firecracker v1.17.0-dev", Some((1, 17, 0))),
            ("Jailer v1.12.1", Some((1, 12, 1))),
            ("nftables v1.0.6 (Lester Gooch #5)", Some((1, 0, 6))),
            ("mke2fs 1.47 (5-Feb-2023)", Some((1, 47, 0))),
            ("no version here", None),
        ] {
            assert_eq!(version(text), is, "{text}");
        }
    }
}
