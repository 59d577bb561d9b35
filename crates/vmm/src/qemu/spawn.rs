//! Starting the process: descriptors, user, limits.
//!
//! QEMU must outlive the server, so nothing ties the two: it is in a session of its own (a Ctrl-C on the server's
//! terminal is not meant for it), no pipe leads to the server, and it has no directory of the server as
//! its own. Its standard error goes to a [`Log`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};

use super::cmdline::Fd;
use crate::child::User;
use crate::log::Log;
use crate::{VmSpec, VmmError, child, tap};

/// The files of one machine in its run directory.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) qmp: PathBuf,
    pub(crate) agent: PathBuf,
    pub(crate) console_socket: PathBuf,
    pub(crate) console: PathBuf,
}

impl Files {
    pub(crate) fn of(run_dir: &Path) -> Self {
        Self {
            qmp: run_dir.join("qmp.sock"),
            agent: run_dir.join("agent.sock"),
            console_socket: run_dir.join("console.sock"),
            console: run_dir.join("console.log"),
        }
    }

    /// Removes them, as far as they are there.
    pub(crate) fn remove(&self) -> Result<(), VmmError> {
        let new = self.console.with_extension("new");
        for path in [&self.qmp, &self.agent, &self.console_socket, &self.console, &new] {
            remove(path)?;
        }
        Ok(())
    }
}

pub(super) fn remove(path: &Path) -> Result<(), VmmError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(VmmError::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Everything that QEMU is given, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    mappings: Vec<FdMapping>,
    /// Size of the largest file that QEMU may write.
    largest: u64,
}

/// The queues of a machine's taps.
pub(crate) async fn open_taps(spec: &VmSpec) -> Result<Vec<OwnedFd>, VmmError> {
    let mut queues = Vec::new();
    for nic in &spec.nics {
        let queue = tap::open_when_free(&nic.tap).await;
        queues.push(queue.map_err(|source| VmmError::Tap { tap: nic.tap.clone(), source })?);
    }
    Ok(queues)
}

/// Opens all other files of a machine and makes its sockets.
pub(crate) fn open(spec: &VmSpec, files: &Files, taps: Vec<OwnedFd>) -> Result<Opened, VmmError> {
    let mut opened = Opened { mappings: Vec::new(), largest: Log::SIZE as u64 };
    opened.add(open_file("open the kernel", &spec.boot.kernel, false)?, Fd::KERNEL);
    opened.add(open_file("open the initramfs", &spec.boot.initrd, false)?, Fd::INITRD);
    for (index, drive) in spec.drives.iter().enumerate() {
        let file = open_file("open the drive", &drive.path, !drive.read_only)?;
        if !drive.read_only {
            let size = file.metadata().map_or(0, |meta| meta.len());
            opened.largest = opened.largest.max(size);
            opened.add(open_file("open the drive", &drive.path, false)?, Fd::drive_reader(index));
        }
        opened.add(file, Fd::drive(index));
    }
    for (index, queue) in taps.into_iter().enumerate() {
        opened.add(queue, Fd::nic(index));
    }
    for (path, fd) in [(&files.qmp, Fd::QMP), (&files.agent, Fd::AGENT), (&files.console_socket, Fd::CONSOLE)]
    {
        opened.add(listen(path)?, fd);
    }
    Ok(opened)
}

/// Largest state of a machine, without its memory.
const STATE_MAX: u64 = 64 << 20;

impl Opened {
    /// The guest's memory, of a template or of a clone.
    pub(crate) fn add_memory(&mut self, memory: impl Into<OwnedFd>) {
        // Room for a template's state.
        self.largest = self.largest.max(STATE_MAX);
        self.add(memory, Fd::MEMORY);
    }

    fn add(&mut self, fd: impl Into<OwnedFd>, child_fd: i32) {
        self.mappings.push(FdMapping { parent_fd: fd.into(), child_fd });
    }
}

fn open_file(action: &'static str, path: &Path, write: bool) -> Result<File, VmmError> {
    let result = OpenOptions::new().read(true).write(write).open(path);
    result.map_err(|source| VmmError::File { action, path: path.to_owned(), source })
}

/// A listening socket that only the server's user can connect to.
fn listen(path: &Path) -> Result<UnixListener, VmmError> {
    remove(path)?;
    let bind = || {
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|source| VmmError::File { action: "make the socket", path: path.to_owned(), source })
}

/// Starts QEMU. Blocks for the time of fork and exec.
pub(crate) fn start(
    binary: &Path,
    arguments: &[String],
    opened: Opened,
    user: User,
    cgroups: Vec<File>,
    apart: bool,
) -> Result<(Child, Log), VmmError> {
    let failed = |source| VmmError::Program { program: binary.to_owned(), source };
    let log = Log::create("qemu-log").map_err(failed)?;
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.writer().map_err(failed)?)
        .stderr(log.writer().map_err(failed)?);
    child::prepare(
        &mut command,
        child::Confined {
            largest_file: Some(opened.largest),
            cgroups,
            user: rustix::process::geteuid().is_root().then_some(user),
            directory: None,
        },
    );
    command
        .fd_mappings(opened.mappings)
        .map_err(|_| failed(io::Error::other("two descriptors were given the same number")))?;
    child::limit_open_files(&mut command);
    let child = crate::apart::spawn(&mut command, apart).map_err(failed)?;
    Ok((child, log))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn a_server_with_many_descriptors_starts_processes_that_may_have_few() {
        let most = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| File::create(dir.path().join(name)).unwrap());
        // Each has the other's number in the process, so one of them is put aside meanwhile, above all others.
        let (first, second) = (one.as_raw_fd(), two.as_raw_fd());
        let mut many: Vec<File> =
            (0..child::OPEN_FILES + 100).map(|_| File::open("/dev/null").unwrap()).collect();
        let mut opened = Opened { mappings: Vec::new(), largest: 1 << 20 };
        opened.add(one, second);
        opened.add(two, first);
        opened.add(many.pop().unwrap(), Fd::MEMORY);
        let script = format!("readlink /proc/$$/fd/{first} /proc/$$/fd/{second}; ulimit -n");
        let user = User { uid: 1_900_000_001, gid: 1_900_000_001 };
        let (mut child, log) =
            start(Path::new("sh"), &["-c".to_owned(), script], opened, user, Vec::new(), false).unwrap();
        assert!(child.wait().unwrap().success());
        let path = |name: &str| dir.path().join(name).display().to_string();
        let expected = format!("{}\n{}\n{}\n", path("two"), path("one"), child::OPEN_FILES);
        assert_eq!(String::from_utf8(log.read()).unwrap(), expected);
    }
}
