//! What a guest boots from: the kernel, an initramfs with the agent as `/init` and the modules it has to load, and all
//! modules on a disk of their own.
//!
//! ```text
//! /init                  the agent, static
//! /modules/modules.list  file names in load order, one a line
//! /modules/*.ko          the objects, never compressed
//! ```
//!
//! All are named after what they were made from and appear by rename, so that several servers, a crash or a full
//! disk never leave half a file under a name that is used. They are uncompressed: the host's page cache is
//! cheaper than the guest's processor.

mod compress;
mod cpio;
mod facts;
mod kernel;
mod modules;
mod tree;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

pub(crate) use cpio::Archive;
pub use facts::{KernelFacts, KernelForm, kernel_facts};

/// A kernel and an initramfs, ready for a VMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFiles {
    /// `vmlinux` (with a PVH note) or `bzImage`, readable by everybody.
    pub kernel: PathBuf,
    /// The initramfs, readable by everybody.
    pub initrd: PathBuf,
    /// The kernel's modules, a squashfs, readable by everybody; absent for a kernel without.
    pub modules: Option<PathBuf>,
}

impl BootFiles {
    fn all(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.kernel), Some(&self.initrd), self.modules.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }
}

/// Why a guest has nothing to boot from.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no usable module index.
    #[error(
        "cannot read {path}: {source}; 'modules' must be a /lib/modules/VERSION directory in which depmod has run"
    )]
    Modules {
        /// The index.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The packer of squashfs-tools-ng is not there.
    #[error("cannot run gensquashfs, which packs the kernel's modules: install squashfs-tools-ng")]
    NoPacker,
    /// Not a kernel.
    #[error("{0} is neither a vmlinux (ELF) nor an x86 bzImage")]
    NotAKernel(PathBuf),
    /// The work was cut off because the server is stopping.
    #[error("preparing the boot files was interrupted")]
    Interrupted,
}

/// Tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

fn stamp(path: &Path) -> Result<Stamp, BootError> {
    let meta = std::fs::metadata(path).map_err(|source| failed("read", path, source))?;
    Ok(Stamp {
        path: path.to_owned(),
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
    })
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> BootError {
    BootError::File { action, path: path.to_owned(), source }
}

/// Answers by input, so that a machine costs four `stat` calls. Its lock is also what makes the work single
/// flight within a process.
static MADE: LazyLock<Mutex<HashMap<Vec<Stamp>, BootFiles>>> = LazyLock::new(Mutex::default);

/// Makes the boot files in `dir`, or finds them there. `modules` is a `/lib/modules/VERSION` directory; without
/// one the kernel must have everything built in. `agent` is a static executable.
pub async fn prepare(
    dir: &Path,
    kernel: &Path,
    modules: Option<&Path>,
    agent: &Path,
) -> Result<BootFiles, BootError> {
    std::fs::create_dir_all(dir).map_err(|source| failed("make the directory", dir, source))?;
    let mut key = vec![stamp(dir)?, stamp(kernel)?, stamp(agent)?];
    key[0].size = 0;
    key[0].modified = (0, 0); // the directory changes with every file in it; who it is must not
    if let Some(modules) = modules {
        let index = modules.join("modules.dep");
        key.push(stamp(&index).map_err(|error| match error {
            BootError::File { path, source, .. } => BootError::Modules { path, source },
            other => other,
        })?);
    }
    let mut made = MADE.lock().await;
    if let Some(files) = made.get(&key).filter(|files| files.all().all(Path::exists)) {
        return Ok(files.clone());
    }
    let inputs = (dir.to_owned(), kernel.to_owned(), modules.map(Path::to_owned), agent.to_owned());
    let files = tokio::task::spawn_blocking(move || {
        let (dir, kernel, modules, agent) = inputs;
        Ok(BootFiles {
            kernel: make_kernel(&dir, &kernel)?,
            initrd: make_initrd(&dir, modules.as_deref(), &agent)?,
            modules: modules.map(|modules| tree::make(&dir, &modules)).transpose()?,
        })
    })
    .await
    .map_err(|_| BootError::Interrupted)??;
    made.insert(key, files.clone());
    remove_unused(dir, &made.values().cloned().collect::<Vec<_>>());
    Ok(files)
}

fn make_kernel(dir: &Path, source: &Path) -> Result<PathBuf, BootError> {
    let image = std::fs::read(source).map_err(|error| failed("read the kernel", source, error))?;
    let path = dir.join(format!("kernel-{}", short_hash(&[&image])));
    if path.exists() {
        return Ok(path);
    }
    match kernel::inspect(&image) {
        kernel::Kernel::Unknown => return Err(BootError::NotAKernel(source.to_owned())),
        kernel::Kernel::AsIs => publish(dir, &path, &image)?,
        kernel::Kernel::Unpacked(vmlinux) => publish(dir, &path, &vmlinux)?,
    }
    Ok(path)
}

fn make_initrd(dir: &Path, modules: Option<&Path>, agent: &Path) -> Result<PathBuf, BootError> {
    let agent = std::fs::read(agent).map_err(|source| failed("read the agent", agent, source))?;
    let modules = modules.map(modules::read).transpose()?.unwrap_or_default();
    let mut archive = Archive::default();
    archive.directory("dev");
    // The kernel opens it as PID 1's standard input, output and error before anything is mounted.
    archive.character_device("dev/console", 5, 1);
    archive.file("init", 0o755, &agent);
    archive.directory("modules");
    let mut list = String::new();
    for module in &modules {
        let _ = writeln!(list, "{}", module.name);
        archive.file(&format!("modules/{}", module.name), 0o644, &module.object);
    }
    archive.file("modules/modules.list", 0o644, list.as_bytes());
    let bytes = archive.finish();
    let path = dir.join(format!("initramfs-{}.cpio", short_hash(&[&bytes])));
    if !path.exists() {
        publish(dir, &path, &bytes)?;
    }
    Ok(path)
}

/// 64 bits of SHA-256, as hexadecimal: enough for names that only have to differ from version to version.
pub(crate) fn short_hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes beside the target, syncs, renames.
fn publish(dir: &Path, path: &Path, content: &[u8]) -> Result<(), BootError> {
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir)?;
        file.write_all(content)?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(dir)?.sync_all()
    };
    write().map_err(|source| failed("write", path, source))
}

const TEMPORARY: &str = ".making-";

/// Removes what earlier kernels and agents and crashes have left for more than a day. A file that is in use
/// elsewhere after all is made again when it is asked for; a running machine has read its own already.
fn remove_unused(dir: &Path, used: &[BootFiles]) {
    const OLD: Duration = Duration::from_secs(24 * 3600);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let ours = ["kernel-", "initramfs-", tree::PREFIX, TEMPORARY]
            .iter()
            .any(|p| name.to_string_lossy().starts_with(p));
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if ours
            && !used.iter().flat_map(BootFiles::all).any(|file| file == path)
            && age().is_some_and(|age| age > OLD)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn same_content_same_file_and_changes_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (boot, kernel, agent) =
            (dir.path().join("boot"), dir.path().join("vmlinux"), dir.path().join("agent"));
        std::fs::write(&kernel, b"\x7fELF and so on").unwrap();
        std::fs::write(&agent, b"agent 1").unwrap();
        let first = prepare(&boot, &kernel, None, &agent).await.unwrap();
        let calls = (0..8).map(|_| prepare(&boot, &kernel, None, &agent));
        for call in calls {
            assert_eq!(call.await.unwrap(), first);
        }
        std::fs::write(&agent, b"agent 22").unwrap();
        let second = prepare(&boot, &kernel, None, &agent).await.unwrap();
        assert_eq!(second.kernel, first.kernel);
        assert_ne!(second.initrd, first.initrd);
        std::fs::remove_file(&second.initrd).unwrap();
        assert_eq!(prepare(&boot, &kernel, None, &agent).await.unwrap(), second);
        assert_eq!(std::fs::read_dir(&boot).unwrap().count(), 3, "kernel, two initramfs, nothing temporary");
    }

    #[tokio::test]
    async fn old_versions_go_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (kernel, agent) = (dir.path().join("vmlinux"), dir.path().join("agent"));
        std::fs::write(&kernel, b"\x7fELF").unwrap();
        std::fs::write(&agent, b"agent").unwrap();
        for (name, days) in
            [("initramfs-1.cpio", 2), ("kernel-1", 2), (".making-x", 2), ("kernel-2", 0), ("accel.json", 2)]
        {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(days * 24 * 3600)).unwrap();
        }
        prepare(dir.path(), &kernel, None, &agent).await.unwrap();
        let here = |name: &str| dir.path().join(name).exists();
        assert!(!here("initramfs-1.cpio") && !here("kernel-1") && !here(".making-x"));
        assert!(here("kernel-2") && here("accel.json"));
    }

    #[tokio::test]
    async fn what_is_no_kernel_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("notes.txt");
        std::fs::write(&file, b"hello").unwrap();
        let error = prepare(dir.path(), &file, None, &file).await.unwrap_err().to_string();
        assert!(error.ends_with("notes.txt is neither a vmlinux (ELF) nor an x86 bzImage"), "{error}");
    }
}
