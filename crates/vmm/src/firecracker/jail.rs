//! The directory that is all a machine's Firecracker sees of the host.
//!
//! ```text
//! RUN_DIR/                        root, 0700: the server's
//!   console.fifo                  Firecracker's standard output: the guest's console
//!   log.fifo  metrics.fifo        second names of `log` and `metrics` below
//!   console.log  vmm.log          what came out of them, bounded
//!   agent.sock                    the agent's socket on its way to `v.sock_1024`
//!   firecracker/MACHINE/          root, 0700; the first part is the program's file name
//!     root/                       the jail: the VM's user's, 0700, until a guest starts, and then root's, 0711
//!       kernel initrd root.img    second names of the server's files, root's and read-only
//!       memory state              a template's, likewise
//!       scratch.img               second name of the machine's disk, the VM's user's
//!       log metrics               FIFOs
//!       api.sock v.sock           made by Firecracker
//!       v.sock_1024               the server's, for the agent
//! ```
//!
//! The jail belongs to the VM's user while Firecracker makes its sockets there, and a template's does all the time, so
//! anything in it may be anything: the server opens
//! nothing there by name but the API socket, the process number that the jailer writes before Firecracker runs, and the files of
//! a snapshot after it is dead, and follows no link on the way. The FIFOs it opens by their names outside.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fireactions_model::MachineId;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use tokio::net::UnixStream;

use super::api::Connect;
use super::names::{AGENT_PORT, API_SOCKET, LOG, METRICS, VSOCK};
use crate::child::User;
use crate::link_or_copy::link_or_copy;
use crate::{AgentEndpoint, VmmError};

/// Names of FIFOs in the run directory.
const FIFOS: [&str; 3] = ["console.fifo", "log.fifo", "metrics.fifo"];

/// One machine's jail and what belongs to it in the run directory.
#[derive(Debug, Clone)]
pub(crate) struct Jail {
    run_dir: PathBuf,
    root: PathBuf,
}

impl Jail {
    /// Where the jailer puts the machine's, for a program of this file name.
    pub(crate) fn new(run_dir: &Path, program: &Path, id: &MachineId) -> Self {
        Self { run_dir: run_dir.to_owned(), root: run_dir.join(program).join(id.as_str()).join("root") }
    }

    /// The jail of a machine that is there already, maybe of another version's server and program.
    pub(crate) fn find(run_dir: &Path, id: &MachineId) -> Option<Self> {
        let parent = parents(run_dir, id).next()?;
        Some(Self { run_dir: run_dir.to_owned(), root: parent.join(id.as_str()).join("root") })
    }

    /// Makes the empty jail and its FIFOs. `user` owns it, when the server can give it away.
    pub(crate) fn make(&self, user: Option<User>) -> Result<(), VmmError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| VmmError::File { action: "make", path, source }
        };
        let parent = self.root.parent().unwrap_or(&self.run_dir);
        std::fs::create_dir_all(parent).map_err(failed(parent))?;
        // An id is used once, so whatever is there already is a mistake that must not be built upon.
        std::fs::create_dir(&self.root).map_err(failed(&self.root))?;
        for dir in [parent, &self.root] {
            std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed(dir))?;
        }
        give(&self.root, user)?;
        for name in FIFOS {
            let path = self.run_dir.join(name);
            remove(&path)?;
            rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                .map_err(|error| failed(&path)(error.into()))?;
        }
        for (fifo, name) in [(self.log_fifo(), LOG), (self.metrics_fifo(), METRICS)] {
            give(&fifo, user)?;
            std::fs::hard_link(&fifo, self.root.join(name)).map_err(failed(&fifo))?;
        }
        Ok(())
    }

    /// Lets Firecracker read one of the server's files, which other machines share.
    pub(crate) fn share(&self, action: &'static str, source: &Path, name: &str) -> Result<(), VmmError> {
        let failed = |error| VmmError::File { action, path: source.to_owned(), source: error };
        let meta = std::fs::metadata(source).map_err(failed)?;
        if meta.mode() & 0o022 != 0 {
            let why = format!(
                "machines share it, so nobody but its owner may write to it (mode 0644); its mode is {:04o}",
                meta.mode() & 0o7777
            );
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, why)));
        }
        if meta.mode() & 0o004 == 0 && rustix::process::geteuid().is_root() {
            // Under a service's umask the server's own files are closed. Their directories stay so: what opens here is
            // the name in the jail.
            tracing::debug!(file = %source.display(), "made readable for the machines' users");
            std::fs::set_permissions(source, Permissions::from_mode(meta.mode() & 0o777 | 0o044))
                .map_err(failed)?;
        }
        link_or_copy(source, &self.root.join(name)).map_err(failed)
    }

    /// Gives Firecracker a file of this machine's own.
    pub(crate) fn hand_over(
        &self,
        action: &'static str,
        source: &Path,
        name: &str,
        user: Option<User>,
    ) -> Result<(), VmmError> {
        let target = self.root.join(name);
        let failed = |error| VmmError::File { action, path: source.to_owned(), source: error };
        link_or_copy(source, &target).map_err(failed)?;
        give(&target, user)
    }

    /// Takes the jail's directories from the VM's user once Firecracker has made its sockets: whoever takes it over makes no
    /// file any more, and those that are there do not grow beyond the scratch disk.
    pub(crate) fn close(&self) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let nobody = (Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT));
        let mode = Mode::RWXU | Mode::XGRP | Mode::XOTH;
        // What the jailer made, and the root itself, last.
        for name in ["dev/net", "dev", "run", "."] {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            match self.open(name, flags) {
                Ok(dir) => {
                    rustix::fs::fchown(&dir, nobody.0, nobody.1)?;
                    rustix::fs::fchmod(&dir, mode)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The jail's directory, for a process whose user could not reach it.
    pub(crate) fn directory(&self) -> Result<OwnedFd, VmmError> {
        rustix::fs::open(&self.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| VmmError::File { action: "open", path: self.root.clone(), source: error.into() })
    }

    /// Opens something in the jail without following a link. With `O_PATH` nothing happens to what it is.
    ///
    /// Name by name: `openat2` would do it at once, but a service with `RestrictSUIDSGID=` has none.
    pub(crate) fn open(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if name.split('/').any(|part| matches!(part, "" | "..")) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (above, last) = name.rsplit_once('/').unwrap_or((".", name));
        let mut at = rustix::fs::open(&self.root, through, Mode::empty())?;
        for part in above.split('/') {
            at = rustix::fs::openat(&at, part, through, Mode::empty())?;
        }
        let found = rustix::fs::openat(&at, last, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        // With O_PATH a link itself is opened.
        if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Symlink {
            return Err(rustix::io::Errno::LOOP.into());
        }
        Ok(found)
    }

    /// The number of Firecracker's process, which the jailer wrote.
    pub(crate) fn process_number(&self, program: &Path) -> io::Result<u32> {
        use std::io::Read;
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let name = format!("{}.pid", program.display());
        let file = File::from(self.open(&name, OFlags::RDONLY | OFlags::NONBLOCK)?);
        if !file.metadata()?.is_file() {
            return Err(invalid());
        }
        let mut text = String::new();
        file.take(16).read_to_string(&mut text)?;
        text.trim().parse().map_err(|_| invalid())
    }

    /// Path of a file in the jail, for what replaces or moves a name and does not follow it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn console_fifo(&self) -> PathBuf {
        self.run_dir.join(FIFOS[0])
    }

    pub(crate) fn log_fifo(&self) -> PathBuf {
        self.run_dir.join(FIFOS[1])
    }

    pub(crate) fn metrics_fifo(&self) -> PathBuf {
        self.run_dir.join(FIFOS[2])
    }

    /// The guest's console, bounded.
    pub(crate) fn console(&self) -> PathBuf {
        self.run_dir.join("console.log")
    }

    /// Firecracker's log, bounded.
    pub(crate) fn log(&self) -> PathBuf {
        self.run_dir.join("vmm.log")
    }

    /// How the agent is met.
    pub(crate) fn agent(&self) -> AgentEndpoint {
        AgentEndpoint::Listen {
            path: self.root.join(format!("{VSOCK}_{AGENT_PORT}")),
            staging: self.run_dir.join("agent.sock"),
        }
    }

    /// Removes the machine's jails, also half-made ones, and all that this driver keeps in the run directory. Its
    /// processes must be gone.
    pub(crate) fn remove(run_dir: &Path, id: &MachineId) -> Result<(), VmmError> {
        for parent in parents(run_dir, id) {
            let jail = parent.join(id.as_str());
            match std::fs::remove_dir_all(&jail) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(VmmError::File { action: "remove", path: jail, source });
                }
                _ => {}
            }
            // Refused, rightly, if it holds something else.
            let _ = std::fs::remove_dir(&parent);
        }
        let files = ["console.log", "console.new", "vmm.log", "vmm.new", "agent.sock"];
        FIFOS.iter().chain(&files).try_for_each(|name| remove(&run_dir.join(name)))
    }
}

/// Directories of the run directory that hold one named after the machine.
fn parents(run_dir: &Path, id: &MachineId) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(run_dir).into_iter().flatten().flatten();
    let id = id.clone();
    entries
        .map(|entry| entry.path())
        .filter(move |path| std::fs::symlink_metadata(path.join(id.as_str())).is_ok_and(|meta| meta.is_dir()))
}

fn give(path: &Path, user: Option<User>) -> Result<(), VmmError> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    lchown(path, Some(uid), Some(gid)).map_err(|source| VmmError::File {
        action: "give away",
        path: path.to_owned(),
        source,
    })
}

fn remove(path: &Path) -> Result<(), VmmError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(VmmError::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// The API socket.
#[async_trait]
impl Connect for Jail {
    async fn connect(&self) -> io::Result<UnixStream> {
        let socket = self.open(API_SOCKET, OFlags::PATH)?;
        // Through the descriptor it is this very socket, however long its path is.
        UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::KERNEL;
    use super::*;

    const USER: User = User { uid: 64_111, gid: 64_112 };

    fn jail() -> (tempfile::TempDir, MachineId, Jail) {
        let dir = tempfile::tempdir().unwrap();
        let id = MachineId::from_random([3; 8]);
        let jail = Jail::new(dir.path(), Path::new("firecracker-v1"), &id);
        (dir, id, jail)
    }

    fn owner(path: &Path) -> (u32, u32, u32) {
        let meta = std::fs::symlink_metadata(path).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    }

    /// As root, as every test of the jail.
    #[test]
    fn only_what_is_the_machines_own_belongs_to_its_user() {
        let (dir, id, jail) = jail();
        let file = |name: &str, mode| {
            let path = dir.path().join(name);
            std::fs::write(&path, name).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        };
        jail.make(Some(USER)).unwrap();
        jail.share("open the kernel", &file("vmlinux", 0o644), KERNEL).unwrap();
        jail.hand_over("open the drive", &file("scratch", 0o600), "scratch.img", Some(USER)).unwrap();
        let root = dir.path().join("firecracker-v1").join(id.as_str()).join("root");
        assert_eq!(owner(&root), (USER.uid, USER.gid, 0o700));
        assert_eq!(owner(root.parent().unwrap()), (0, 0, 0o700));
        assert_eq!(owner(&root.join("kernel")), (0, 0, 0o644));
        assert_eq!(owner(&root.join("scratch.img")), (USER.uid, USER.gid, 0o600));
        assert_eq!(owner(&root.join("log")), (USER.uid, USER.gid, 0o600));
        assert_eq!(owner(&jail.console_fifo()), (0, 0, 0o600));
        let ino = |path: &Path| std::fs::metadata(path).unwrap().ino();
        assert_eq!(ino(&root.join("kernel")), ino(&dir.path().join("vmlinux")), "linked, not copied");
        assert_eq!(ino(&root.join("metrics")), ino(&jail.metrics_fifo()));

        let private = file("private", 0o600);
        jail.share("open the drive", &private, "private").unwrap();
        assert_eq!(owner(&private), (0, 0, 0o644), "a service's umask is no reason to refuse");
        for (mode, name) in [(0o666, "everybodys"), (0o664, "groups")] {
            let refused = jail.share("open the drive", &file(name, mode), name).unwrap_err().to_string();
            assert!(refused.contains("mode 0644"), "{refused}");
        }
        assert!(jail.make(Some(USER)).is_err(), "a jail is used once");
    }

    #[test]
    fn a_closed_jail_takes_no_more_files() {
        let (_dir, _, jail) = jail();
        jail.make(Some(USER)).unwrap();
        let root = jail.path("");
        for name in ["dev", "dev/net", "run"] {
            std::fs::create_dir(root.join(name)).unwrap();
            give(&root.join(name), Some(USER)).unwrap();
        }
        std::fs::write(root.join("scratch.img"), "").unwrap();
        give(&root.join("scratch.img"), Some(USER)).unwrap();
        jail.close().unwrap();
        for name in ["", "dev", "dev/net", "run"] {
            assert_eq!(owner(&root.join(name)), (0, 0, 0o711), "{name}");
        }
        assert_eq!(owner(&root.join("scratch.img")).0, USER.uid, "what is its own stays so");
    }

    #[tokio::test]
    async fn no_link_in_the_jail_is_followed() {
        let (dir, _, jail) = jail();
        jail.make(Some(USER)).unwrap();
        let secret = dir.path().join("secret.sock");
        let listener = tokio::net::UnixListener::bind(&secret).unwrap();
        std::os::unix::fs::symlink(&secret, jail.path(API_SOCKET)).unwrap();
        assert_eq!(
            jail.connect().await.unwrap_err().raw_os_error(),
            Some(rustix::io::Errno::LOOP.raw_os_error())
        );
        assert!(jail.open("../../../secret.sock", OFlags::PATH).is_err());
        std::fs::write(dir.path().join("number"), "1").unwrap();
        std::os::unix::fs::symlink("../../../number", jail.path("firecracker-v1.pid")).unwrap();
        assert!(jail.process_number(Path::new("firecracker-v1")).is_err());
        std::fs::remove_file(jail.path("firecracker-v1.pid")).unwrap();
        std::fs::write(jail.path("firecracker-v1.pid"), "4711").unwrap();
        assert_eq!(jail.process_number(Path::new("firecracker-v1")).unwrap(), 4711);

        std::fs::remove_file(jail.path(API_SOCKET)).unwrap();
        std::fs::hard_link(&secret, jail.path(API_SOCKET)).unwrap();
        let (connected, accepted) = tokio::join!(jail.connect(), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }

    #[test]
    fn a_jail_is_found_again_and_removed_in_any_state() {
        let (dir, id, jail) = jail();
        assert!(Jail::find(dir.path(), &id).is_none());
        Jail::remove(dir.path(), &id).unwrap();
        // Half-made, by a program of another name.
        std::fs::create_dir_all(dir.path().join("firecracker-v0").join(id.as_str())).unwrap();
        Jail::remove(dir.path(), &id).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("kept"), "").unwrap();
        jail.make(Some(USER)).unwrap();
        std::os::unix::fs::symlink(outside.path(), jail.path("run")).unwrap();
        assert_eq!(Jail::find(dir.path(), &id).unwrap().path("x"), jail.path("x"));
        Jail::remove(dir.path(), &id).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists(), "what a link in the jail leads to stays");
        Jail::remove(dir.path(), &id).unwrap();
    }
}
