//! The kernel image a VMM starts fastest.
//!
//! A `bzImage` unpacks itself inside the guest, which costs a third of a second under TCG. When the `vmlinux`
//! inside has the PVH entry point (an ELF note that QEMU and Firecracker start directly, without real mode or
//! firmware tables; Xen's `docs/misc/pvh.pandoc`), it is unpacked once, here.

use super::compress::decompress;
use crate::elf::{Segment, segments, u32_at};

/// Largest kernel, unpacked.
const KERNEL_MAX: usize = 512 << 20;

/// Where the header of a bzImage has what (the kernel's `Documentation/arch/x86/boot.rst`).
const SETUP_SECTORS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// What `image` is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// To be started as it is.
    AsIs,
    /// A bzImage that holds this `vmlinux`.
    Unpacked(Vec<u8>),
    /// No kernel.
    Unknown,
}

/// Judges a kernel image and unpacks it when that helps.
pub(crate) fn inspect(image: &[u8]) -> Kernel {
    if image.starts_with(b"\x7fELF") {
        return Kernel::AsIs;
    }
    if image.get(HEADER_MAGIC..HEADER_MAGIC + 4) != Some(b"HdrS") {
        return Kernel::Unknown;
    }
    match unpack(image) {
        Some(vmlinux) if has_pvh_entry(&vmlinux) => Kernel::Unpacked(vmlinux),
        _ => Kernel::AsIs,
    }
}

/// The `vmlinux` in a bzImage.
pub(super) fn unpack(image: &[u8]) -> Option<Vec<u8>> {
    payload(image).and_then(|packed| decompress(packed, KERNEL_MAX).ok())
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let sectors = match *image.get(SETUP_SECTORS)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * 512 + u32_at(image, PAYLOAD_OFFSET)?;
    image.get(start..start.checked_add(u32_at(image, PAYLOAD_LENGTH)?)?)
}

/// Looks for the note "Xen", type 18 (`XEN_ELFNOTE_PHYS32_ENTRY`), in a 64-bit little-endian ELF file.
fn has_pvh_entry(elf: &[u8]) -> bool {
    elf.starts_with(b"\x7fELF\x02\x01") && find_note(elf).is_some()
}

fn find_note(elf: &[u8]) -> Option<()> {
    const NOTE_SEGMENT: usize = 4;
    const PHYS32_ENTRY: usize = 18;
    for Segment { kind, start, size } in segments(elf) {
        if kind != NOTE_SEGMENT {
            continue;
        }
        let mut notes = elf.get(start..start.checked_add(size)?)?;
        while let (Some(name), Some(data), Some(kind)) =
            (u32_at(notes, 0), u32_at(notes, 4), u32_at(notes, 8))
        {
            if kind == PHYS32_ENTRY && notes.get(12..16) == Some(b"Xen\0") {
                return Some(());
            }
            let next = 12 + name.next_multiple_of(4) + data.next_multiple_of(4);
            notes = notes.get(next..).unwrap_or_default();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_kernel_and_a_broken_payload_is_left_alone() {
        assert_eq!(inspect(b""), Kernel::Unknown);
        assert_eq!(inspect(&[0; 4096]), Kernel::Unknown);
        let mut image = vec![0xff; 4096];
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        assert_eq!(inspect(&image), Kernel::AsIs);
    }

    #[test]
    fn truncated_elf_has_no_entry() {
        let mut elf = vec![0xff; 256];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert!(!has_pvh_entry(&elf));
    }
}
