//! The state directory: who may read it, and that one server at a time uses it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

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

/// The directory's lock. Its file says who holds it, and on a second line whether `state.db` is open: while it is, and
/// after a server that did not end cleanly, commits may be in the write-ahead log only, and a log that is gone was
/// taken away.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    /// The holder before did not close the database.
    pub(crate) unclean: bool,
}

const OPEN: &str = "open";

/// Takes the directory's lock, held for as long as the returned value lives (also over exec of children: the
/// descriptor is close-on-exec). The kernel drops it with the process, however that ends.
pub(crate) fn lock(dir: &Path) -> Result<Lock, StoreError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
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
            // A courtesy: without it the refusal is as firm.
            let (holder, ended) = holder(&read(&file));
            return Err(StoreError::Locked { dir: dir.to_owned(), holder, ended });
        }
        Err(errno) => return Err(StoreError::io("lock", &path)(errno.into())),
    }
    // Only now: a holder that was there a moment ago may have opened the database, and died since.
    let unclean = read(&file).lines().any(|line| line == OPEN);
    let lock = Lock { file, path, unclean };
    lock.write(lock.unclean)?;
    Ok(lock)
}

/// What the file says, as far as it can be read.
fn read(file: &File) -> String {
    let mut text = String::new();
    let _ = file.take(64).read_to_string(&mut text);
    text
}

/// Who wrote this into the lock, as people say it, and whether it has ended.
fn holder(text: &str) -> (String, bool) {
    let Some(pid) = text.lines().next().and_then(|line| line.parse::<u32>().ok()) else {
        return ("another process".to_owned(), false);
    };
    // Only the program's name: arguments are nobody's business here.
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => (format!("process {pid} ({})", name.trim_end().escape_default()), false),
        Err(error) => (format!("process {pid}"), error.kind() == std::io::ErrorKind::NotFound),
    }
}

impl Lock {
    /// From now on commits may be in the write-ahead log only.
    pub(crate) fn opened(&self) -> Result<(), StoreError> {
        self.write(true)
    }

    /// The database is being closed in order.
    pub(crate) fn closing(&self) -> Result<(), StoreError> {
        self.write(false)
    }

    fn write(&self, open: bool) -> Result<(), StoreError> {
        let mut text = format!("{}\n", std::process::id());
        if open {
            text += OPEN;
            text += "\n";
        }
        // Written before it is cut: there is no moment at which an open database looks closed.
        self.file
            .write_all_at(text.as_bytes(), 0)
            .and_then(|()| self.file.set_len(text.len() as u64))
            .map_err(StoreError::io("write", &self.path))
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(StoreError::io("sync directory", dir))
}
