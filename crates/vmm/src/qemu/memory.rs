//! The memory of templates, held once for all their clones.
//!
//! QEMU opens a guest's memory file for writing even when it maps it privately, and no machine's user may ever be able
//! to write a template's. So a template's memory is loaded into an anonymous file that the kernel seals against every
//! change, and each clone gets a descriptor of that one: its pages are shared by all of them until a clone writes one,
//! which then is its own.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, MemfdFlags, SealFlags, SeekFrom};
use rustix::io::Errno;
use tokio::sync::Mutex;

use super::template::open_sealed;
use crate::VmmError;

/// Most templates whose memory is held; the one used longest ago goes first. Clones keep what they have.
const MOST: usize = 8;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// What is left out when it is all zeros.
const PAGE: usize = 4096;

/// The memories of one server. Loading one takes as long as reading its file; those who need another wait meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Memories(Mutex<Vec<Held>>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    identity: (u64, u64),
    memory: OwnedFd,
}

impl Memories {
    /// A descriptor of the memory in the file `path`, which must be `size` bytes long.
    pub(crate) async fn get(&self, path: &Path, size: u64) -> Result<OwnedFd, VmmError> {
        let failed =
            |source| VmmError::File { action: "load the template's memory", path: path.to_owned(), source };
        let mut held = self.0.lock().await;
        held.retain(Held::is_current);
        let (file, found) = open_sealed(path)?;
        if found != size {
            let text = format!(
                "it holds {} MiB, and the machine has {}; a template serves only machines of its own size",
                found >> 20,
                size >> 20
            );
            return Err(failed(io::Error::other(text)));
        }
        let known = held.iter().position(|entry| entry.path == path).map(|index| held.remove(index));
        let entry = if let Some(entry) = known {
            entry
        } else {
            let identity = identity(&file).map_err(failed)?;
            let loaded = tokio::task::spawn_blocking(move || load(&file, size)).await;
            let memory = loaded.map_err(io::Error::other).and_then(|memory| memory).map_err(failed)?;
            Held { path: path.to_owned(), identity, memory }
        };
        let memory = entry.memory.try_clone().map_err(failed);
        held.push(entry);
        if held.len() > MOST {
            held.remove(0);
        }
        memory
    }

    /// Lets go of templates that are gone. Whoever loads one now has just done so: nobody waits for that here.
    pub(crate) fn prune(&self) {
        if let Ok(mut held) = self.0.try_lock() {
            held.retain(Held::is_current);
        }
    }
}

impl Held {
    fn is_current(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.identity)
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
}

/// Copies what is not zero into a new sealed file.
fn load(file: &File, size: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory: File = rustix::fs::memfd_create("template-memory", flags)?.into();
    memory.set_len(size)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        at = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break, // holes to the end
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(at))?.min(size);
        while at < hole {
            let most = usize::try_from(hole - at).unwrap_or(CHUNK).min(CHUNK);
            file.read_exact_at(&mut buffer[..most], at)?;
            copy(&memory, &buffer[..most], at)?;
            at += most as u64;
        }
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals)?;
    // It is not read again, so the page cache need not hold it a second time.
    let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
    Ok(memory.into())
}

/// Writes the pages of `data` that are not zero.
fn copy(memory: &File, data: &[u8], at: u64) -> io::Result<()> {
    let is_zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
    let mut start = 0;
    for group in data.chunks(PAGE).collect::<Vec<_>>().chunk_by(|one, two| is_zero(one) == is_zero(two)) {
        let length = group.iter().map(|page| page.len()).sum::<usize>();
        if !is_zero(group[0]) {
            memory.write_all_at(&data[start..start + length], at + start as u64)?;
        }
        start += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SIZE: u64 = 8 << 20;

    fn template(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        let file = File::create(&path).unwrap();
        file.set_len(SIZE).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(&[0; 3 * PAGE], 1 << 20).unwrap();
        file.write_all_at(b"last", SIZE - 4).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        path
    }

    fn same(one: &OwnedFd, two: &OwnedFd) -> bool {
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        inode(one) == inode(two)
    }

    #[tokio::test]
    async fn it_is_loaded_once_sparse_and_cannot_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = template(dir.path(), "memory");
        let memories = Memories::default();
        let memory = memories.get(&path, SIZE).await.unwrap();
        assert!(same(&memory, &memories.get(&path, SIZE).await.unwrap()));
        let file = File::from(memory);
        let mut whole = vec![0; usize::try_from(SIZE).unwrap()];
        file.read_exact_at(&mut whole, 0).unwrap();
        assert_eq!(whole, std::fs::read(&path).unwrap());
        assert!(file.metadata().unwrap().blocks() * 512 <= 4 * PAGE as u64, "zeros take no room");
        assert!(file.write_at(b"x", 0).is_err() && file.set_len(1).is_err());
        let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        assert!(rustix::fs::fallocate(&file, punch, 0, PAGE as u64).is_err(), "not even a hole");
    }

    #[tokio::test]
    async fn another_size_is_refused_and_a_new_file_is_another_template() {
        let dir = tempfile::tempdir().unwrap();
        let path = template(dir.path(), "memory");
        let memories = Memories::default();
        let error = memories.get(&path, SIZE * 2).await.unwrap_err().to_string();
        assert!(error.contains("it holds 8 MiB, and the machine has 16"), "{error}");
        let old = memories.get(&path, SIZE).await.unwrap();
        std::fs::rename(template(dir.path(), "new"), &path).unwrap();
        assert!(!same(&old, &memories.get(&path, SIZE).await.unwrap()));
        std::fs::remove_file(&path).unwrap();
        let loading = memories.0.lock().await;
        memories.prune();
        drop(loading);
        memories.prune();
        assert!(memories.0.lock().await.is_empty());
    }

    #[tokio::test]
    async fn no_more_than_a_few_are_held() {
        let dir = tempfile::tempdir().unwrap();
        let memories = Memories::default();
        for index in 0..MOST + 2 {
            memories.get(&template(dir.path(), &index.to_string()), SIZE).await.unwrap();
        }
        assert_eq!(memories.0.lock().await.len(), MOST);
    }
}
