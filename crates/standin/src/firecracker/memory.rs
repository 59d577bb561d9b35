//! Guest memory: a file in memory, written out and read back without its holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::io::Errno;

/// Anonymous memory of this size that a child can open by its descriptor.
pub(crate) fn anonymous(size: u64) -> io::Result<File> {
    let file = File::from(memfd_create("guest-memory", MemfdFlags::CLOEXEC)?);
    file.set_len(size)?;
    Ok(file)
}

/// Copies what is not zero; the rest of the target stays a hole.
pub(crate) fn copy(from: &File, to: &File, size: u64) -> io::Result<()> {
    const CHUNK: usize = 64 << 10;
    to.set_len(size)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let begin = match seek(from, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // No data behind this.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(from, SeekFrom::Hole(begin))?.min(size);
        at = begin;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let part = &mut buffer[..length];
            from.read_exact_at(part, at)?;
            for (index, page) in part.chunks(4096).enumerate() {
                if page.iter().any(|&byte| byte != 0) {
                    to.write_all_at(page, at + (index * 4096) as u64)?;
                }
            }
            at += length as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_stay_holes() {
        use std::os::unix::fs::MetadataExt;
        const SIZE: u64 = 64 << 20;
        let from = anonymous(SIZE).unwrap();
        from.write_all_at(b"here", 10 << 20).unwrap();
        from.write_all_at(b"end", SIZE - 3).unwrap();
        let to = tempfile::tempfile().unwrap();
        copy(&from, &to, SIZE).unwrap();
        let mut read = [0; 4];
        to.read_exact_at(&mut read, 10 << 20).unwrap();
        assert_eq!(&read, b"here");
        to.read_exact_at(&mut read, SIZE - 4).unwrap();
        assert_eq!(&read, b"\0end");
        let metadata = to.metadata().unwrap();
        assert_eq!(metadata.len(), SIZE);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} bytes on disk", metadata.blocks() * 512);
    }
}
