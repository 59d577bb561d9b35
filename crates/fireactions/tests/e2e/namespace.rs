//! A network and mount namespace that outlives the servers in it, as a host outlives them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The namespaces, held by a process that ends with the test, however the test ends.
pub(crate) struct Namespace {
    holder: Child,
    mounts_before: String,
    processes_before: Vec<i32>,
}

impl Namespace {
    /// Makes the namespaces and runs the shell script `before` in them.
    pub(crate) fn new(before: &str) -> Self {
        // `cat` ends when its standard input does: with the test process.
        let script = format!("set -e; ip link set lo up; {before}\necho ready; exec cat >/dev/null");
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux) is needed");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the namespace could not be set up; standard error says why");
        let mounts_before = mounts_of(&holder);
        let mut namespace = Self { holder, mounts_before, processes_before: Vec::new() };
        namespace.processes_before = namespace.processes().into_iter().map(|(pid, _)| pid).collect();
        namespace
    }

    /// The file systems as they are in there.
    pub(crate) fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.holder.id()).into()
    }

    /// A command in the namespaces, ready to be given arguments.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "-m", program]).stdin(Stdio::null());
        command
    }

    /// A listening socket in the network namespace. Connections are accepted by the kernel; whether anybody
    /// answers them is up to the caller.
    pub(crate) fn listen(&self, address: impl Into<SocketAddr>) -> TcpListener {
        let address = address.into();
        // A socket keeps the namespace that it was made in.
        let bound = self.inside(move || TcpListener::bind(address));
        bound.unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"))
    }

    /// Does something in the network namespace, in a thread of its own: a namespace belongs to a thread, and threads that
    /// it starts are in it, too.
    pub(crate) fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let path = format!("/proc/{}/ns/net", self.holder.id());
        let inside = std::thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        inside.join().unwrap()
    }

    /// Processes (with their command lines) that were not there at the beginning: servers and all their children,
    /// whatever they call themselves.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let own = link(&self.holder.id().to_string());
        let pids =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let inside = pids.filter(|pid| own.is_some() && link(pid) == own);
        let named = inside.filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid.parse().ok()?, String::from_utf8_lossy(&line).replace('\0', " ")))
        });
        named.filter(|(pid, _)| !self.processes_before.contains(pid)).collect()
    }

    /// Mounts that were not there at the beginning.
    pub(crate) fn new_mounts(&self) -> Vec<String> {
        let now = mounts_of(&self.holder);
        now.lines()
            .filter(|line| !self.mounts_before.lines().any(|old| old == *line))
            .map(str::to_owned)
            .collect()
    }
}

/// The next connection to a listener.
pub(crate) fn accepted(listener: &TcpListener, within: Duration) -> TcpStream {
    let limit = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(ready, 1, "nobody called within {within:?}");
    listener.accept().unwrap().0
}

fn mounts_of(holder: &Child) -> String {
    fs::read_to_string(format!("/proc/{}/mounts", holder.id())).unwrap()
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
