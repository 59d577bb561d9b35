//! Swap on the scratch disk.
#![allow(unsafe_code, reason = "swapon has no safe wrapper in nix or rustix")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::root;

/// What mkswap(8) writes into the first page (`union swap_header` of linux/swap.h): behind 1,024 bytes for a boot loader the
/// version, the last page's number, and how many pages are bad; at the page's end the signature.
const INFO: usize = 1024;
const VERSION: u32 = 1;
const SIGNATURE: &[u8] = b"SWAPSPACE2";

/// Gives the kernel `mib` MiB of the scratch disk to put memory on. The scratch disk is mounted, and the root not yet switched.
pub(crate) fn add(mib: u32) -> Result<(), String> {
    let path = Path::new(root::SCRATCH).join("swap");
    make(&path, u64::from(mib) << 20, rustix::param::page_size())
        .and_then(|()| on(&path))
        .map_err(|error| format!("cannot use {mib} MiB of the scratch disk as swap: {error}"))
}

/// A file of this size that the kernel takes as swap.
fn make(path: &Path, size: u64, page: usize) -> io::Result<()> {
    let pages = size / page as u64;
    let last = u32::try_from(pages.saturating_sub(1)).map_err(io::Error::other)?;
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    // Swap with holes is refused; the blocks are taken now, and written when they are needed.
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size)?;
    let mut header = vec![0; page];
    header[INFO..INFO + 4].copy_from_slice(&VERSION.to_ne_bytes());
    header[INFO + 4..INFO + 8].copy_from_slice(&last.to_ne_bytes());
    header[page - SIGNATURE.len()..].copy_from_slice(SIGNATURE);
    file.write_all_at(&header, 0)?;
    file.sync_all()
}

fn on(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: `path` is a string with an end that lives through the call.
    let done = unsafe { nix::libc::swapon(path.as_ptr(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read by what mkswap's own package says of it.
    #[test]
    fn the_header_is_mkswap_s() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swap");
        make(&path, 4 << 20, 4096).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 4 << 20);
        assert_eq!(&bytes[4086..4096], SIGNATURE);
        assert_eq!(bytes[1024..1032], [1, 0, 0, 0, 0xff, 3, 0, 0]);
        assert!(bytes[4096..].iter().all(|byte| *byte == 0));
        assert!(make(&path, 4 << 20, 4096).is_err(), "what is there already is not taken for swap");
    }
}
