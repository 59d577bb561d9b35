//! A guest with an agent that does what it is told, and a channel to it that can be cut, delayed and garbled.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod rogue;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fireactions_guest_proto::guest::{About, Channel, Event, ExecSignal, Session};
use fireactions_guest_proto::{
    Decoder, ExecRequest, Exit, Identity, JobResult, Kind, LogLevel, RunRequest, Stream, Unusable,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

pub const LONG: Duration = Duration::from_secs(60);

pub fn about() -> About {
    About { agent_version: "1.2.3".into(), kernel: "6.1.0".into(), boot_us: 42 }
}

pub fn identity() -> Identity {
    Identity {
        hostname: "m1".into(),
        address: [172, 30, 0, 2].into(),
        prefix: 22,
        gateway: [172, 30, 0, 1].into(),
        dns: vec![],
        machine_id: "0".repeat(32),
        entropy: vec![7; 64],
        unix_nanos: 1,
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        services: Vec::new(),
        drop_ins: Vec::new(),
        sticky: Vec::new(),
        mtu: None,
        mac: None,
        ipv6: None,
    }
}

pub fn request(run: &str) -> RunRequest {
    RunRequest {
        run: run.into(),
        argv: vec!["job".into()],
        env: vec![],
        user: String::new(),
        owner_of: Vec::new(),
        workdir: String::new(),
    }
}

pub fn exec(argv: &[&str]) -> ExecRequest {
    ExecRequest {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: vec![],
        user: String::new(),
        workdir: String::new(),
        tty: None,
    }
}

pub fn result(code: i32) -> JobResult {
    JobResult { user_us: 1, system_us: 2, max_rss_kib: 3, ran_us: 4, ..JobResult::new(Exit::Code(code)) }
}

/// What the agent was told, and what its job is.
#[derive(Default)]
pub struct Told {
    pub configured: u32,
    pub runs: Vec<String>,
    pub signals: Vec<i32>,
    pub files: Vec<(String, Vec<u8>)>,
    pub connects: u32,
}

/// A disk that the agent cannot mount.
pub fn unusable() -> Unusable {
    Unusable { disk: 0, why: "bad superblock".into() }
}

pub type Job = Box<dyn FnOnce(Session) + Send>;

/// Serves a session like an agent: `echo` copies input to output, `flood` writes for ever, a file comes back as its
/// own path repeated.
pub fn agent(session: Session, job: Job) -> Arc<Mutex<Told>> {
    let told = Arc::new(Mutex::new(Told::default()));
    let seen = Arc::clone(&told);
    let mut job = Some(job);
    std::thread::spawn(move || {
        loop {
            match session.next(Duration::from_secs(1)) {
                None | Some(Event::Disconnected) => {
                    if Arc::strong_count(&seen) == 1 {
                        return;
                    }
                }
                Some(Event::Connected { .. }) => seen.lock().unwrap().connects += 1,
                Some(Event::Clock { .. }) => {}
                Some(Event::Settle { timeout }) => {
                    let late = timeout < Duration::from_secs(1);
                    session.settled(if late { Err("its init is not\nup".into()) } else { Ok(()) });
                }
                Some(Event::Release) => {
                    let first = seen.lock().unwrap().runs.is_empty();
                    session.released(if first { Err("it is\nbusy".into()) } else { Ok(()) });
                }
                Some(Event::Configure(_)) => {
                    seen.lock().unwrap().configured += 1;
                    session.log(LogLevel::Info, "configured\x1b[31m");
                    session.configured(Ok(vec![unusable()]));
                }
                Some(Event::PutFile(mut file)) => {
                    let seen = Arc::clone(&seen);
                    std::thread::spawn(move || {
                        let mut data = Vec::new();
                        let read = file.data.read_to_end(&mut data);
                        let whole = read.is_ok() && data.len() as u64 == file.size;
                        if file.dest == "/denied" {
                            file.done.finish(Err("permission denied".into()));
                        } else if whole {
                            seen.lock().unwrap().files.push((file.dest, data));
                            file.done.finish(Ok(()));
                        } else {
                            file.done.finish(Err("cut".into()));
                        }
                    });
                }
                Some(Event::GetFile(mut file)) => {
                    std::thread::spawn(move || {
                        for _ in 0..50_000 {
                            if file.data.write_all(file.path.as_bytes()).is_err() {
                                return;
                            }
                        }
                        file.done.finish(Ok(()));
                    });
                }
                Some(Event::Run(request)) => {
                    seen.lock().unwrap().runs.push(request.run);
                    let session = session.clone();
                    let job = job.take().unwrap();
                    std::thread::spawn(move || job(session));
                }
                Some(Event::Signal(signal)) => seen.lock().unwrap().signals.push(signal),
                Some(Event::Exec(mut exec)) => {
                    let control = exec.control.clone();
                    match exec.request.argv.first().map(String::as_str) {
                        Some("echo") => {
                            std::thread::spawn(move || {
                                let copied = std::io::copy(&mut exec.stdin, &mut exec.stdout);
                                exec.stderr.write_all(b"done").unwrap();
                                exec.control.finish(Exit::Code(i32::from(copied.is_err())));
                            });
                        }
                        Some("flood") => {
                            std::thread::spawn(move || while exec.stdout.write_all(&[b'x'; 1000]).is_ok() {});
                        }
                        Some("size") => {
                            std::thread::spawn(move || {
                                if let ExecSignal::Resize(size) = control.next() {
                                    write!(exec.stdout, "{}x{}", size.rows, size.cols).unwrap();
                                }
                                control.finish(Exit::Code(0));
                            });
                        }
                        _ => control.finish(Exit::Unstartable("no such program".into())),
                    }
                }
                Some(Event::PowerOff) => return,
            }
        }
    });
    told
}

/// One end for a guest's port; the other for a [`Chardev`].
pub fn port() -> (OwnedFd, StdStream) {
    let (guest, host) = StdStream::pair().unwrap();
    host.set_nonblocking(true).unwrap();
    (guest.into(), host)
}

/// Where and how a connection is cut.
#[derive(Debug, Clone)]
pub struct Cut {
    /// After so many bytes from the host.
    pub up: usize,
    /// After so many bytes from the guest.
    pub down: usize,
    /// So many of the bytes that the guest sent last come again at the start of the next connection.
    pub stale: usize,
    /// Each acknowledgement is sent so many times more.
    pub repeat: usize,
}

/// Behaves like QEMU's chardev with a virtio-serial port behind it: one host at a time, the guest's side stays open,
/// bytes under way survive the host. One cut for each connection, none after the last.
pub fn chardev(path: &Path, guest: StdStream, cuts: Vec<Cut>) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    let mut guest = UnixStream::from_std(guest).unwrap();
    let mut cuts = cuts.into_iter();
    tokio::spawn(async move {
        let mut recent: Vec<u8> = Vec::new();
        let mut stale = 0;
        loop {
            let (host, _) = listener.accept().await.unwrap();
            let cut = cuts.next();
            let keep = recent.len().saturating_sub(stale);
            let old = recent.split_off(keep);
            stale = cut.as_ref().map_or(0, |cut| cut.stale);
            let _ = connection(host, &mut guest, &old, cut, &mut recent).await;
        }
    })
}

async fn connection(
    mut host: UnixStream,
    guest: &mut UnixStream,
    old: &[u8],
    cut: Option<Cut>,
    recent: &mut Vec<u8>,
) -> std::io::Result<()> {
    let (mut up, mut down) = cut.as_ref().map_or((usize::MAX, usize::MAX), |cut| (cut.up, cut.down));
    let repeat = cut.as_ref().map_or(0, |cut| cut.repeat);
    let (mut host_read, mut host_write) = host.split();
    let (mut guest_read, mut guest_write) = guest.split();
    let upwards = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut decoder = Decoder::new(1 << 20);
        while up > 0 {
            let want = up.min(buffer.len());
            let count = host_read.read(&mut buffer[..want]).await?;
            if count == 0 {
                break;
            }
            up -= count;
            guest_write.write_all(&buffer[..count]).await?;
            let mut rest = &buffer[..count];
            let mut again = Vec::new();
            while let Some(frame) = decoder.next(&mut rest) {
                if let Ok(frame) = frame
                    && frame.kind == Kind::Credit
                {
                    again.push(frame.encode());
                }
            }
            // Only where a frame has just ended: a repeated one must not land inside another.
            if buffer[..count].ends_with(&[0]) {
                for frame in again {
                    for _ in 0..repeat {
                        guest_write.write_all(&frame).await?;
                    }
                }
            }
        }
        std::io::Result::Ok(())
    };
    let downwards = async {
        host_write.write_all(old).await?;
        let mut buffer = vec![0; 16 * 1024];
        while down > 0 {
            let want = down.min(buffer.len());
            let count = guest_read.read(&mut buffer[..want]).await?;
            if count == 0 {
                break;
            }
            down -= count;
            // What the guest wrote is gone from it, whether or not the host gets it.
            recent.extend_from_slice(&buffer[..count]);
            let extra = recent.len().saturating_sub(1 << 20);
            recent.drain(..extra);
            host_write.write_all(&buffer[..count]).await?;
        }
        std::io::Result::Ok(())
    };
    tokio::select! { result = upwards => result, result = downwards => result }
}

/// A guest behind a chardev.
pub struct World {
    pub dir: tempfile::TempDir,
    pub socket: PathBuf,
    pub session: Session,
    pub told: Arc<Mutex<Told>>,
    pub chardev: tokio::task::JoinHandle<()>,
}

pub fn world(cuts: Vec<Cut>, job: impl FnOnce(Session) + Send + 'static) -> World {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent.sock");
    let (guest, host) = port();
    let session = Session::start(Channel::Port(guest), about()).unwrap();
    let told = agent(session.clone(), Box::new(job));
    let chardev = chardev(&socket, host, cuts);
    World { dir, socket, session, told, chardev }
}

/// A job that writes `pieces` and ends with `code`.
pub fn writer(pieces: Vec<(Stream, Vec<u8>)>, code: i32) -> impl FnOnce(Session) + Send + 'static {
    move |session| {
        session.started(77);
        let mut out = session.job_output(Stream::Stdout);
        let mut err = session.job_output(Stream::Stderr);
        for (stream, data) in pieces {
            match stream {
                Stream::Stdout => out.write_all(&data).unwrap(),
                Stream::Stderr => err.write_all(&data).unwrap(),
            }
        }
        session.exited(result(code));
    }
}
