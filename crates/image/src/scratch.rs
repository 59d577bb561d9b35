//! The writable disk of one machine: a sparse copy of an empty, preformatted ext4 filesystem.
//!
//! A template is made once per size, and kept while it is one of those used lately: a job names its own size. `lazy_itable_init=0` has mke2fs mark the inode tables as zeroed (they stay
//! holes), so that the guest's kernel does not write them in the background of every machine. Without a journal,
//! because a machine's disk is never used again after a crash.
//!
//! The disk of a machine that was frozen after its image's own init had written to it is kept beside its memory
//! ([`keep`]); each clone begins with a copy of that ([`copy`]). Either way a copy shares the blocks with its original
//! where the filesystem can (XFS, Btrfs); elsewhere what was written is copied, and holes stay holes.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use fireactions_model::Hardware;
use rustix::fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek};

/// Names the options a template was made with; a change of options is a new name.
const TEMPLATE_VERSION: u32 = 2;
/// Most templates that are kept; the one used longest ago goes first. One has the tables of its size: 1 MiB for 100 GiB.
const MOST: usize = 16;
/// What is being made has such a name.
const UNFINISHED: &str = ".scratch-";

/// Why a scratch disk could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// A size that ext4 cannot have here.
    #[error("a scratch disk of {0} MiB is not possible: use 8 MiB to 16 TiB")]
    Size(u32),
    /// `mke2fs` is absent or failed.
    #[error("mke2fs cannot make the scratch template {path}: {why}")]
    Format {
        /// The template.
        path: PathBuf,
        /// Its words.
        why: String,
    },
    /// A file operation failed; "No space left on device" is one.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// Verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ScratchError {
    /// What was to be copied is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ScratchError + use<'a> {
    move |source| ScratchError::Io { action, path: path.to_path_buf(), source }
}

/// What a scratch disk has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// MiB of it, 8 to 16 Mi.
    pub mib: u32,
    /// Bytes for each inode: a disk has room for that many fewer files. A power of two from 1024 to 65536.
    pub bytes_per_inode: u32,
}

impl Size {
    /// So many MiB, with the usual number of inodes.
    pub const fn of(mib: u32) -> Self {
        Self { mib, bytes_per_inode: Hardware::BYTES_PER_INODE }
    }
}

/// Makes the disk `dest` of this size for the VMM process of `owner` (uid, gid), mode 0600. The template is
/// kept in `templates_dir`. What was at `dest` before is replaced; a failure leaves nothing there.
///
/// # Errors
/// An impossible size, a failing `mke2fs`, or a full disk.
pub async fn create(
    templates_dir: &Path,
    dest: &Path,
    size: Size,
    owner: (u32, u32),
) -> Result<(), ScratchError> {
    if !(8..=16 << 20).contains(&size.mib) {
        return Err(ScratchError::Size(size.mib));
    }
    let (templates, dest_path) = (templates_dir.to_path_buf(), dest.to_path_buf());
    tokio::task::spawn_blocking(move || {
        let template = template(&templates, size)?;
        clone_of(&template, &dest_path, owner)
    })
    .await
    .unwrap_or_else(|e| Err(at("make", dest)(io::Error::other(e))))
}

/// Removes what a killed server left unfinished in the directory of templates. Nobody else may use it meanwhile.
///
/// # Errors
/// The directory cannot be read, or a file not removed.
pub fn tidy(templates_dir: &Path) -> Result<(), ScratchError> {
    for entry in std::fs::read_dir(templates_dir).map_err(at("read", templates_dir))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(at("remove", &path))?;
        }
    }
    Ok(())
}

/// File name of the disk in the directory of a machine's template.
const KEPT: &str = "scratch";

/// Makes the disk of a machine that is frozen a part of its template: moves it to `template`, a directory of the server's
/// own, where nobody writes to it any more. The machine's VMM must be dead.
///
/// # Errors
/// It is not a plain file of this size, or the directory cannot take it.
pub async fn keep(disk: &Path, template: &Path, size: Size) -> Result<(), ScratchError> {
    let (disk, dest) = (disk.to_path_buf(), template.join(KEPT));
    let path = disk.clone();
    tokio::task::spawn_blocking(move || seal_and_move(&disk, &dest, u64::from(size.mib) << 20))
        .await
        .unwrap_or_else(|e| Err(at("keep", &path)(io::Error::other(e))))
}

fn seal_and_move(disk: &Path, dest: &Path, size: u64) -> Result<(), ScratchError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let open = || File::options().read(true).custom_flags(flags).open(disk);
    let file = open().map_err(at("open", disk))?;
    let meta = file.metadata().map_err(at("read", disk))?;
    if !meta.is_file() || meta.len() != size {
        let why = format!("it is not a file of {} MiB any more", size >> 20);
        return Err(at("keep", disk)(io::Error::other(why)));
    }
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    fchown(&file, Some(own.0), Some(own.1)).map_err(at("take", disk))?;
    file.set_permissions(Permissions::from_mode(0o400)).map_err(at("seal", disk))?;
    match std::fs::rename(disk, dest) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            clone_of(&file, dest, own)?;
            std::fs::set_permissions(dest, Permissions::from_mode(0o400)).map_err(at("seal", dest))?;
            std::fs::remove_file(disk).map_err(at("remove", disk))
        }
        moved => moved.map_err(at("move", disk)),
    }
}

/// Makes the disk `dest` of a clone as the one that was kept in `template` is, for the VMM process of `owner`. What was at
/// `dest` before is replaced; a failure leaves that as it was.
///
/// # Errors
/// The template has none, or a full disk.
pub async fn copy(template: &Path, dest: &Path, owner: (u32, u32)) -> Result<(), ScratchError> {
    let (kept, dest_path) = (template.join(KEPT), dest.to_path_buf());
    tokio::task::spawn_blocking(move || {
        let kept = File::open(&kept).map_err(at("open", &kept))?;
        clone_of(&kept, &dest_path, owner)
    })
    .await
    .unwrap_or_else(|e| Err(at("make", dest)(io::Error::other(e))))
}

/// One lock per template path, so that machines starting together format once. As many as templates.
static LOCKS: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>> = LazyLock::new(Mutex::default);

fn template_lock(path: &Path) -> Arc<Mutex<()>> {
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    locks.entry(path.to_path_buf()).or_default().clone()
}

/// The empty disk of this size, open: it may go by its name once another size needs the room.
fn template(dir: &Path, size: Size) -> Result<File, ScratchError> {
    let path = dir.join(format!("scratch-v{TEMPLATE_VERSION}-{}MiB-{}.ext4", size.mib, size.bytes_per_inode));
    let lock = template_lock(&path);
    let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(file) = File::open(&path) {
        let _ = file.set_modified(SystemTime::now());
        return Ok(file);
    }
    std::fs::create_dir_all(dir).map_err(at("make the directory", dir))?;
    let temp = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(dir)
        .map_err(at("make a temporary file in", dir))?;
    temp.as_file().set_len(u64::from(size.mib) << 20).map_err(at("size", temp.path()))?;
    let output = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-m", "0"])
        .args(["-i", &size.bytes_per_inode.to_string()])
        .args(["-E", "lazy_itable_init=0", "-L", "scratch"])
        .arg(temp.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|e| ScratchError::Format {
            path: path.clone(),
            why: format!("{e} (Debian package e2fsprogs)"),
        })?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_string();
        return Err(ScratchError::Format { path, why });
    }
    temp.as_file().sync_all().map_err(at("write", temp.path()))?;
    let file = temp.persist(&path).map_err(|e| at("name", &path)(e.error))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(at("sync", dir))?;
    trim(dir, &path);
    Ok(file)
}

/// Removes the templates that were used longest ago, as far as nobody takes one now. One that stays is no harm.
fn trim(dir: &Path, newest: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let is_template =
        |path: &PathBuf| path != newest && path.extension().is_some_and(|extension| extension == "ext4");
    let paths = entries.flatten().map(|entry| entry.path()).filter(is_template);
    let mut used: Vec<(SystemTime, PathBuf)> =
        paths.filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path))).collect();
    used.sort_unstable_by(|one, other| other.cmp(one));
    for (_, path) in used.into_iter().skip(MOST - 1) {
        let lock = template_lock(&path);
        if let Ok(_held) = lock.try_lock()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(path = %path.display(), %error, "an unused scratch template stays");
        }
        LOCKS.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
    }
}

/// Makes the disk `dest` as `source` is, for the VMM process of an owner (uid, gid), mode 0600. What was at `dest` before is replaced; a
/// failure leaves that as it was. It blocks.
///
/// # Errors
/// A full disk.
pub fn clone_of(source: &File, dest: &Path, (uid, gid): (u32, u32)) -> Result<(), ScratchError> {
    let dir = dest.parent().unwrap_or(Path::new("/"));
    let temp = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(dir)
        .map_err(at("make a temporary file in", dir))?;
    let file = temp.as_file();
    if ioctl_ficlone(file, source).is_err() {
        copy_sparse(source, file).map_err(at("copy the scratch disk to", dest))?;
    }
    fchown(file, Some(uid), Some(gid)).map_err(at("give away", dest))?;
    // No fsync: after a power failure no machine that used it is alive.
    temp.persist(dest).map_err(|e| at("name", dest)(e.error))?;
    Ok(())
}

/// Copies only what holds data; the rest of `to` stays a hole.
fn copy_sparse(from: &File, to: &File) -> io::Result<()> {
    let size = from.metadata()?.len();
    to.set_len(size)?;
    let mut pos = 0;
    while pos < size {
        let start = match seek(from.as_fd(), SeekFrom::Data(pos)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let end = seek(from.as_fd(), SeekFrom::Hole(start))?;
        copy_range(from, to, start, end)?;
        pos = end;
    }
    Ok(())
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let want = usize::try_from(end - read_at).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), want) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            // Two filesystems: the kernel does not copy between all of them.
            Err(rustix::io::Errno::XDEV | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL) => {
                let mut buffer = vec![0; 256 << 10];
                while read_at < end {
                    let want = usize::try_from(end - read_at).unwrap_or(usize::MAX).min(buffer.len());
                    from.read_exact_at(&mut buffer[..want], read_at)?;
                    to.write_all_at(&buffer[..want], read_at)?;
                    read_at += want as u64;
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
