//! Programs of the pool beside the job (a container engine, say): started in order before the machine is ready, each
//! waited for; looked after while the job runs; over when it is.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fireactions_guest_proto::guest::Session;
use fireactions_guest_proto::{Exit, LogLevel, Ready, Service};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::cgroup::Cgroup;
use crate::reaper::Reaper;
use crate::{spawn, stage};

/// Between two looks whether a service is ready.
const LOOK: Duration = Duration::from_millis(50);
/// The same where each look starts a program.
const LOOK_BY_COMMAND: Duration = Duration::from_millis(500);
/// Longest for a connection on the loopback interface, and for an answer.
const CONNECT: Duration = Duration::from_secs(1);
/// Before a service that ended is started again; doubled each time, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Of a log that is shown with a failure, in bytes.
const SHOWN: u64 = 1024;

/// All services of a guest.
#[derive(Clone, Default)]
pub(crate) struct Services(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The job has ended: what ends now is to end.
    over: AtomicBool,
    /// Kept for as long as the guest: nobody removes groups from under programs.
    groups: Mutex<Vec<Cgroup>>,
}

impl Services {
    /// Starts all, one after the other, and waits until each is ready.
    pub(crate) fn start(
        &self,
        services: Vec<Service>,
        reaper: &Arc<Reaper>,
        session: &Session,
    ) -> Result<(), String> {
        for service in services {
            self.start_one(&service, reaper, session)
                .map_err(|why| format!("service '{}' {why}", service.name))?;
        }
        Ok(())
    }

    /// What ends from now on is not started again.
    pub(crate) fn end(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }

    fn start_one(&self, service: &Service, reaper: &Arc<Reaper>, session: &Session) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_millis(service.timeout_ms);
        let cgroup = Cgroup::create(&format!("service-{}", service.name));
        let request = request(&service.argv, &service.user, cgroup.as_ref());
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner).extend(cgroup);
        let pid = run(&service.name, &request, reaper)?;
        let (ended, end) = mpsc::channel();
        let (watcher, watched, log) = (Arc::clone(reaper), self.clone(), session.clone());
        let keep = service.clone();
        std::thread::Builder::new()
            .name("service".to_owned())
            .spawn(move || {
                let exit = watcher.wait(pid);
                let _ = ended.send(exit.clone());
                watched.look_after(&keep, &request, exit, &watcher, &log);
            })
            .map_err(|error| format!("cannot be watched: {error}"))?;
        wait_until_ready(service, deadline, &end, reaper).inspect_err(|_| self.end())
    }

    /// After the first end of a service.
    fn look_after(
        &self,
        service: &Service,
        request: &stage::Request,
        mut exit: Exit,
        reaper: &Reaper,
        session: &Session,
    ) {
        let mut pause = PAUSES.0;
        while !self.0.over.load(Ordering::Relaxed) {
            let again = if service.restart { "; it is started again" } else { "" };
            let words = format!("service '{}' ended ({}){again}", service.name, in_words(&exit));
            session.log(LogLevel::Warn, &words);
            if !service.restart {
                return;
            }
            std::thread::sleep(pause);
            if self.0.over.load(Ordering::Relaxed) {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
            let began = Instant::now();
            exit = match run(&service.name, request, reaper) {
                Ok(pid) => reaper.wait(pid),
                Err(why) => Exit::Unstartable(why),
            };
            if began.elapsed() > PAUSES.1 {
                pause = PAUSES.0;
            }
        }
    }
}

fn request(argv: &[String], user: &str, cgroup: Option<&Cgroup>) -> stage::Request {
    stage::Request {
        argv: argv.to_vec(),
        env: Vec::new(),
        user: user.to_owned(),
        workdir: String::new(),
        cgroup: cgroup.map(|group| group.dir().to_owned()),
        stdin: PathBuf::from("/dev/null"),
        terminal: false,
        give: Vec::new(),
    }
}

/// Starts a program whose output goes to the service's log.
fn run(name: &str, request: &stage::Request, reaper: &Reaper) -> Result<i32, String> {
    let path = PathBuf::from(Service::log(name));
    let log = || -> std::io::Result<(OwnedFd, OwnedFd)> {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        let file = File::options().create(true).append(true).open(&path)?;
        Ok((file.try_clone()?.into(), file.into()))
    };
    let (stdout, stderr) = log().map_err(|error| format!("has no log {}: {error}", path.display()))?;
    spawn::start(reaper, request, stdout, stderr).map_err(|why| format!("cannot start: {why}"))
}

fn wait_until_ready(
    service: &Service,
    deadline: Instant,
    end: &Receiver<Exit>,
    reaper: &Arc<Reaper>,
) -> Result<(), String> {
    let Some(ready) = &service.ready else { return Ok(()) };
    let pause = if matches!(ready, Ready::Command(_)) { LOOK_BY_COMMAND } else { LOOK };
    let ended =
        |exit: &Exit| format!("ended before it was ready ({}){}", in_words(exit), last_words(&service.name));
    loop {
        if is_ready(service, ready, reaper, deadline) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "was not ready within {} s: {}{}",
                service.timeout_ms / 1000,
                what_lacks(ready),
                last_words(&service.name)
            ));
        }
        match end.recv_timeout(pause) {
            Ok(exit) if !service.restart => return Err(ended(&exit)),
            Err(RecvTimeoutError::Timeout) => {}
            // It is looked after: it may still come.
            Ok(_) | Err(RecvTimeoutError::Disconnected) => std::thread::sleep(pause),
        }
    }
}

fn is_ready(service: &Service, ready: &Ready, reaper: &Arc<Reaper>, deadline: Instant) -> bool {
    match ready {
        Ready::Socket(path) => connect(path).is_ok(),
        Ready::Http { socket, path } => succeeds(socket, path).unwrap_or(false),
        Ready::Port(port) => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            TcpStream::connect_timeout(&address, CONNECT).is_ok()
        }
        Ready::Command(argv) => run(&service.name, &request(argv, &service.user, None), reaper)
            .is_ok_and(|pid| wait(pid, reaper, deadline) == Some(Exit::Code(0))),
    }
}

/// How a program ended; one that has not until then is ended, with all that it started.
fn wait(pid: i32, reaper: &Arc<Reaper>, deadline: Instant) -> Option<Exit> {
    let (ended, end) = mpsc::channel();
    let watcher = Arc::clone(reaper);
    let watch = move || ended.send(watcher.wait(pid));
    let watched = std::thread::Builder::new().name("readiness".to_owned()).spawn(watch);
    let exit = end.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
    if exit.is_none() || watched.is_err() {
        // The leader of a session of its own.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    exit
}

/// A connection, if the listener takes one at once: a full queue would be waited for.
fn connect(path: &str) -> std::io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let connection = UnixStream::from(socket);
    connection.set_nonblocking(false)?;
    Ok(connection)
}

/// Asks an HTTP server for a path. One that listens and is not ready yet lets the question wait.
fn succeeds(socket: &str, path: &str) -> std::io::Result<bool> {
    let mut connection = connect(socket)?;
    connection.set_read_timeout(Some(CONNECT))?;
    connection.set_write_timeout(Some(CONNECT))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 10];
    connection.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.") && head.ends_with(b" 2"))
}

fn what_lacks(ready: &Ready) -> String {
    match ready {
        Ready::Socket(path) => format!("nothing listens at {path}"),
        Ready::Http { socket, path } => format!("{path} at {socket} is not answered with success"),
        Ready::Port(port) => format!("nothing listens at port {port} of 127.0.0.1"),
        Ready::Command(argv) => format!("'{}' does not end with 0", argv.join(" ")),
    }
}

fn in_words(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::Unstartable(why) => why.clone(),
    }
}

/// The end of a service's log, for a message.
fn last_words(name: &str) -> String {
    let path = Service::log(name);
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(SHOWN)))?;
        let mut bytes = Vec::new();
        file.take(SHOWN).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return format!("; it has written nothing to {path}");
    }
    format!("; last lines of {path}: {}", lines[lines.len().saturating_sub(4)..].join(" | "))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listener_that_takes_nobody_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("full.sock");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(listener.as_fd(), 0).unwrap();
        let text = path.to_str().unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| connect(text).ok()).take(10).collect();
        assert!((1..10).contains(&taken.len()), "its queue is full after {}", taken.len());
        assert!(!succeeds(text, "/").unwrap_or(false));
    }
}
