//! Randomness from the host, into the kernel's pool, counted as such and used at once.
//!
//! Machines restored from one snapshot would otherwise hand out the same "random" bytes. See random(4) for the two
//! requests; neither has a safe wrapper, which is why this is the one place with `unsafe`.
#![allow(unsafe_code, reason = "two ioctls of /dev/random without a safe wrapper")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Most bytes of one request; the kernel's pool is smaller.
const MOST: usize = 512;

/// `struct rand_pool_info` of `linux/random.h`, with room for its flexible array.
#[repr(C)]
struct PoolInfo {
    entropy_count: i32,
    buf_size: i32,
    buf: [u8; MOST],
}

// RNDADDENTROPY is _IOW('R', 0x03, int[2]): its size is that of the header alone.
nix::ioctl_write_ptr_bad!(add_entropy, nix::request_code_write!(b'R', 0x03, 8), PoolInfo);
nix::ioctl_none!(reseed_crng, b'R', 0x07);

/// Adds `bytes` (at most 512 count) and makes the generator use them from now on.
pub(crate) fn add(bytes: &[u8]) -> io::Result<()> {
    let used = &bytes[..bytes.len().min(MOST)];
    let size = i32::try_from(used.len()).map_err(io::Error::other)?;
    let mut info = PoolInfo { entropy_count: size * 8, buf_size: size, buf: [0; MOST] };
    info.buf[..used.len()].copy_from_slice(used);
    let device = File::options().write(true).open("/dev/urandom")?;
    // SAFETY: `info` lives through the call and holds the `buf_size` bytes that it names.
    unsafe { add_entropy(device.as_raw_fd(), &raw const info) }?;
    // SAFETY: takes no argument.
    unsafe { reseed_crng(device.as_raw_fd()) }?;
    Ok(())
}
