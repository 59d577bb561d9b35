//! Is a program static?

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Program headers stand at the beginning of every file that a linker made.
const HEAD: u64 = 64 << 10;

/// True when the program needs no loader and so no library: it can run in an empty root directory.
pub(super) fn is_static(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    judge(&head).ok_or_else(|| io::Error::other("it is no 64-bit ELF program"))
}

/// A dynamic program names its loader in a header of type `PT_INTERP` (elf(5)); a static-pie one has none.
fn judge(head: &[u8]) -> Option<bool> {
    const INTERPRETER: &[u8] = &[3, 0, 0, 0];
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(head.get(0x20..0x28)?.try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(head.get(0x36..0x38)?.try_into().ok()?));
    let count = usize::from(u16::from_le_bytes(head.get(0x38..0x3a)?.try_into().ok()?));
    for index in 0..count {
        let at = table.checked_add(index * size)?;
        if head.get(at..at.checked_add(4)?)? == INTERPRETER {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (file[0x20], file[0x36], file[0x38]) = (64, 56, u8::try_from(kinds.len()).unwrap());
        for kind in kinds {
            file.push(*kind);
            file.extend([0; 55]);
        }
        file
    }

    #[test]
    fn the_loader_tells() {
        assert_eq!(judge(&elf(&[6, 1, 1, 2])), Some(true), "static-pie: dynamic section, no loader");
        assert_eq!(judge(&elf(&[6, 3, 1, 2])), Some(false));
        assert_eq!(judge(b"#!/bin/sh\n"), None);
        assert_eq!(judge(&elf(&[6, 3])[..70]), None, "cut off");
    }

    #[test]
    fn programs_of_this_machine() {
        assert!(!is_static(&std::env::current_exe().unwrap()).unwrap());
        assert!(is_static(Path::new("/nonexistent")).is_err());
    }
}
