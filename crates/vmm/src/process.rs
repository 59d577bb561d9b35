//! A process, held by pidfd: its number cannot come to mean another process while it is signalled or waited for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::ExitCause;

/// Clock ticks in a second, as `/proc` counts them (`USER_HZ`): the same on all of Linux that runs here.
const TICKS: u64 = 100;

/// For how long a program can be without arguments: exec lets go whoever started it, and lays them out afterwards.
const BEGINS: Duration = Duration::from_millis(500);

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the host's boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
}

/// An open pidfd with the record of what it refers to.
#[derive(Debug)]
pub(crate) struct Process {
    record: ProcessRecord,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Holds the process that has this number now. `None` when there is none, or only a zombie of another's.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(number) = number else { return Ok(None) };
        let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Read after the pidfd exists: if the process ended in between, the number may be another's by now, and the
        // pidfd, which is asked last, knows.
        let Some(start_ticks) = start_ticks(pid)? else { return Ok(None) };
        if has_ended(&pidfd)? {
            return Ok(None);
        }
        Ok(Some(Self { record: ProcessRecord { pid, start_ticks }, pidfd: register(pidfd)? }))
    }

    /// Holds the recorded process, if it still is.
    pub(crate) fn find(record: &ProcessRecord) -> io::Result<Option<Self>> {
        Ok(Self::open(record.pid)?.filter(|process| process.record == *record))
    }

    pub(crate) fn record(&self) -> &ProcessRecord {
        &self.record
    }

    /// The letter of its state in `/proc/PID/stat`: `T` stopped, `D` waiting inside the kernel, … `None` once it has
    /// ended.
    pub(crate) fn state(&self) -> Option<char> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.record.pid)).ok()?;
        let state = text[text.rfind(')')? + 1..].trim_start().chars().next()?;
        // Read before the pidfd is asked: then it was this process's.
        matches!(has_ended(self.pidfd.get_ref()), Ok(false)).then_some(state)
    }

    /// Its resident memory in bytes and its processor time. `None` once it has ended.
    pub(crate) fn used(&self) -> Option<(u64, Duration)> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.record.pid)).ok();
        let (stat, status) = (read("stat")?, read("status")?);
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = resident.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024);
        let cpu = Duration::from_millis(cpu_ticks(&stat)?.saturating_mul(1000 / TICKS));
        // Read before the pidfd is asked: then it was this process's.
        matches!(has_ended(self.pidfd.get_ref()), Ok(false)).then_some((memory, cpu))
    }

    /// Sends a signal. That the process is gone already is no error.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns when the process has ended; the kernel makes the pidfd readable then. A child is reaped.
    pub(crate) async fn ended(&self) -> ExitCause {
        // An error here would mean that the runtime is shutting down, and then nobody listens.
        if self.pidfd.readable().await.is_err() {
            return ExitCause::Unknown;
        }
        reap(self.pidfd.get_ref())
    }

    /// Returns when the process has ended, leaving its status to whoever watches it; a child that nobody watches is
    /// reaped a little later, for which nobody has to wait.
    pub(crate) async fn gone(&self) {
        let _ = self.pidfd.readable().await;
        let Ok(pidfd) = self.pidfd.get_ref().try_clone() else { return };
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            reap(&pidfd)
        });
    }
}

/// Takes the status of a child that has ended.
fn reap(pidfd: &OwnedFd) -> ExitCause {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitCause::Code(code),
            (None, Some(signal)) => ExitCause::Signal(signal),
            (None, None) => ExitCause::Unknown,
        },
        Ok(None) | Err(_) => ExitCause::Unknown,
    }
}

/// Tokio's safe constructor is deprecated because it takes any `AsRawFd`; the other one is an unsafe function whose
/// condition, one open descriptor for the whole lifetime, is what `OwnedFd` guarantees by its type.
#[allow(deprecated)]
fn register(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

fn has_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    Ok(rustix::event::poll(&mut polled, Some(&Timespec::default()))? > 0)
}

/// Field 22 of `/proc/PID/stat`. `None` when there is no such process or it is a zombie.
fn start_ticks(pid: u32) -> io::Result<Option<u64>> {
    let text = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(parse_stat(&text))
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The name in field 2 may hold spaces and parentheses: fields are counted from the last `)`.
fn parse_stat(text: &str) -> Option<u64> {
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Fields 14 and 15 of `/proc/PID/stat`: time in its own code and in the kernel, of all its threads.
fn cpu_ticks(text: &str) -> Option<u64> {
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    next()?.checked_add(next()?)
}

/// A network namespace, as the kernel tells them apart: device and inode of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NetNamespace(u64, u64);

impl NetNamespace {
    /// The calling thread's: programs that it starts are in the same.
    pub(crate) fn own() -> Option<Self> {
        Self::at(Path::new("/proc/thread-self/ns/net"))
    }

    /// A process's. `None` when it is gone or none of this one's business.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::at(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// The one that this file stands for.
    fn at(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self(meta.dev(), meta.ino()))
    }
}

/// The arguments of a process; none when it is gone. Waits for those of a program that has only just begun.
pub(crate) fn arguments(pid: u32) -> Vec<Vec<u8>> {
    let until = Instant::now() + BEGINS;
    loop {
        let arguments = arguments_now(pid);
        if !arguments.is_empty() || !has_program(pid) || Instant::now() >= until {
            return arguments;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The arguments that a process has now: none as well when its program has only just begun.
pub(crate) fn arguments_now(pid: u32) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    if bytes.is_empty() { Vec::new() } else { bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect() }
}

/// Whether the process is a program, and neither the kernel's own nor a zombie.
fn has_program(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// The numbers of all processes that this one can see.
pub(crate) fn all() -> io::Result<Vec<u32>> {
    let entries = std::fs::read_dir(Path::new("/proc"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) S 1 (b)) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse_stat(text), Some(4711));
        assert_eq!(parse_stat("7 (sh) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"), None);
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn processor_time_is_the_process_s_own_and_the_kernel_s_for_it() {
        let text = "7 (a) 3 (b)) S 1 7 7 0 -1 0 0 0 0 0 120 30 9 9 20 0 1 0 4711 0 0";
        assert_eq!(cpu_ticks(text), Some(150));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_program_that_has_only_just_begun_has_its_arguments() {
        for number in 0..50 {
            let mut command = Command::new("sh");
            command.args(["-c", "read x; exit", "sh", &format!("mark-{number}")]);
            command.stdin(std::process::Stdio::piped());
            // As VMMs are started.
            crate::child::prepare(&mut command, crate::child::Confined::default());
            let mut child = command.spawn().unwrap();
            let arguments = arguments(child.id());
            assert_eq!(arguments.get(4), Some(&format!("mark-{number}").into_bytes()), "{arguments:?}");
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        let mut ended = Command::new("true").spawn().unwrap();
        while start_ticks(ended.id()).unwrap().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(arguments(ended.id()), Vec::<Vec<u8>>::new(), "a zombie has none");
        ended.wait().unwrap();
    }

    #[tokio::test]
    async fn what_a_process_uses_is_known_until_it_ends() {
        let mut child = Command::new("sh")
            .args(["-c", "read x; while :; do :; done"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::open(child.id()).unwrap().unwrap();
        let (_, before) = process.used().unwrap();
        drop(child.stdin.take());
        let works = async {
            while process.used().unwrap().1 <= before + Duration::from_millis(100) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Not before: a program that has only just begun has a page or two.
            let (memory, _) = process.used().unwrap();
            assert!((1 << 16..1 << 30).contains(&memory), "{memory}");
        };
        tokio::time::timeout(Duration::from_secs(30), works).await.unwrap();
        process.signal(Signal::KILL).unwrap();
        process.ended().await;
        assert_eq!(process.used(), None);
        assert!(child.wait().is_err(), "reaped already");
    }

    #[tokio::test]
    async fn a_stopped_process_is_told_from_a_sleeping_one() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id()).unwrap().unwrap();
        let wait_for = async |state: Option<char>| {
            while process.state() != state {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let soon = Duration::from_secs(10);
        tokio::time::timeout(soon, wait_for(Some('S'))).await.unwrap();
        process.signal(Signal::STOP).unwrap();
        tokio::time::timeout(soon, wait_for(Some('T'))).await.unwrap();
        assert_eq!(NetNamespace::of(child.id()), NetNamespace::own());
        process.signal(Signal::KILL).unwrap();
        tokio::time::timeout(soon, wait_for(None)).await.unwrap();
        child.wait().unwrap();
        assert_eq!(NetNamespace::of(child.id()), None);
    }

    #[tokio::test]
    async fn end_of_a_child_is_seen_with_its_status() {
        let mut child = Command::new("sh").args(["-c", "sleep 0.1; exit 3"]).spawn().unwrap();
        let process = Process::open(child.id()).unwrap().unwrap();
        assert_eq!(process.ended().await, ExitCause::Code(3));
        assert!(child.wait().is_err(), "reaped already");
        assert!(Process::find(process.record()).unwrap().is_none());
        process.signal(Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_reused_number_is_another_process() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let record = *Process::open(child.id()).unwrap().unwrap().record();
        let earlier = ProcessRecord { start_ticks: record.start_ticks - 1, ..record };
        assert!(Process::find(&earlier).unwrap().is_none());
        let process = Process::find(&record).unwrap().unwrap();
        process.signal(Signal::KILL).unwrap();
        assert_eq!(process.ended().await, ExitCause::Signal(9));
        assert!(child.wait().is_err(), "reaped already");
    }
}
