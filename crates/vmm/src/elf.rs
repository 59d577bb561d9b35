//! As much of 64-bit little-endian ELF (elf(5)) as kernels and static programs are judged by. Any bytes are fine.

/// An entry of the program header table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// `p_type`.
    pub(crate) kind: usize,
    /// Where it begins in the file.
    pub(crate) start: usize,
    /// Its bytes in the file.
    pub(crate) size: usize,
}

/// The segments that can be read; none when this is no such ELF.
pub(crate) fn segments(elf: &[u8]) -> impl Iterator<Item = Segment> {
    let table = || Some((u64_at(elf, 0x20)?, u16_at(elf, 0x36)?, u16_at(elf, 0x38)?));
    let (table, entry_size, count) = if is_elf(elf) { table().unwrap_or_default() } else { (0, 0, 0) };
    (0..count).map_while(move |index| {
        let header = table.checked_add(index * entry_size)?;
        Some(Segment {
            kind: u32_at(elf, header)?,
            start: u64_at(elf, header.checked_add(8)?)?,
            size: u64_at(elf, header.checked_add(32)?)?,
        })
    })
}

/// Whether it begins as a 64-bit little-endian ELF file does.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF\x02\x01")
}

/// Whether a program asks for a dynamic loader; from the beginning of its file.
pub(crate) fn is_dynamic(elf: &[u8]) -> bool {
    const INTERPRETER: usize = 3;
    segments(elf).any(|segment| segment.kind == INTERPRETER)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?) as usize)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    let eight = bytes.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(eight.try_into().ok()?)).ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_le_bytes(two.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_needs_a_loader_and_garbage_is_nothing() {
        let shell = std::fs::read("/bin/sh").unwrap();
        assert!(is_elf(&shell) && is_dynamic(&shell));
        assert!(!is_dynamic(&std::fs::read("/bin/busybox").unwrap()), "busybox-static is static");
        assert!(!is_elf(b"#!/bin/sh") && segments(b"#!/bin/sh").next().is_none());
        let mut broken = vec![0xff; 256];
        broken[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(segments(&broken).count(), 0);
    }
}
