//! The state directory: who may read it, and that one server at a time uses it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::StoreError;

/// Makes `dir` (0700) where it is absent. Of an existing one, read and write access of group and others is
/// taken away; their `x` is left, because machine processes run with their own uid and have sockets below.
pub(crate) fn prepare(dir: &Path) -> Result<(), StoreError> {
    private_dir(dir)?;
    let meta = dir.metadata().map_err(StoreError::io("look at", dir))?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o066 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(mode & !0o066))
            .map_err(StoreError::io("restrict the mode of", dir))?;
    }
    Ok(())
}

/// Makes `dir` and its parents with mode 0700 where absent.
pub(crate) fn private_dir(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("make directory", dir))
}

/// Makes `path` an empty file of mode 0600 where it is absent. SQLite gives its -wal and -shm the mode of the
/// database.
pub(crate) fn private_file(path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::io("create", path))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(StoreError::io("restrict the mode of", path))
}

/// Takes the directory's lock, held for as long as the returned file is open (also over exec of children:
/// the descriptor is close-on-exec). The kernel drops it with the process, however that ends.
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // The pid is a courtesy: without it the refusal is as firm.
            let _ = (&mut file).take(32).read_to_string(&mut text);
            let holder = text
                .trim()
                .parse::<u32>()
                .map_or_else(|_| "another process".to_owned(), |pid| format!("process {pid}"));
            return Err(StoreError::Locked { dir: dir.to_owned(), holder });
        }
        Err(errno) => return Err(StoreError::io("lock", &path)(errno.into())),
    }
    file.set_len(0).map_err(StoreError::io("write", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(StoreError::io("write", &path))?;
    Ok(file)
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(StoreError::io("sync directory", dir))
}
