//! The machine's one job: its start, its output, its end, and what it used.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fireactions_guest_proto::guest::{JobOutput, Session};
use fireactions_guest_proto::{Exit, JobResult, LogLevel, RunRequest, Stream};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::fcntl_getpipe_size;

use crate::cgroup::{self, Cgroup, OomKills};
use crate::reaper::Reaper;
use crate::services::Services;
use crate::{notes, spawn, stage, users};

/// Once everything that could write is killed, a pipe that still does not end is held by something that cannot be
/// killed; its silence for this long ends the output.
const SILENCE: Duration = Duration::from_secs(2);
/// What a pipe holds, where the kernel does not say.
const PIPE: usize = 64 * 1024;

/// Whose the processes are that are not in the job's control group.
pub(crate) enum Beside {
    /// What is not the job's are these services, which end with it.
    Ours(Services),
    /// The image's init looks after them.
    TheImages,
}

/// A started job.
pub(crate) struct Job {
    cgroup: Option<Cgroup>,
    pid: i32,
    /// By the monotonic clock.
    since: Instant,
    /// The host has sent it a signal.
    asked: AtomicBool,
    /// Its first process is still there; guards against a signal to a reused process id.
    alive: Mutex<bool>,
}

impl Job {
    /// Starts the program and watches it in a thread of its own; everything that results is sent to `session`. Nothing
    /// when it cannot start.
    ///
    /// `give`: files to be handed to the job's user. `beside`: whose everything is that is not
    /// the job's. `said`: lines for its log, before its own.
    pub(crate) fn start(
        session: &Session,
        reaper: &Arc<Reaper>,
        request: RunRequest,
        give: Vec<PathBuf>,
        beside: Beside,
        said: &[String],
    ) -> Option<Arc<Self>> {
        for text in said {
            // Lost only with the session itself.
            let _ = writeln!(session.job_output(Stream::Stderr), "fireactions: {text}");
        }
        let before = OomKills::now();
        match Self::spawn(session, reaper, request, give) {
            Ok((job, outputs)) => {
                session.started(job.pid.unsigned_abs());
                let (watched, watcher, session_) = (Arc::clone(&job), Arc::clone(reaper), session.clone());
                let spawned = std::thread::Builder::new()
                    .name("job".to_owned())
                    .spawn(move || watched.watch(&session_, &watcher, outputs, before, &beside));
                if let Err(error) = spawned {
                    job.signal(Signal::SIGKILL as i32);
                    session.exited(unstartable(format!("the agent cannot watch the job: {error}")));
                }
                Some(job)
            }
            Err(why) => {
                session.exited(unstartable(why));
                None
            }
        }
    }

    fn spawn(
        session: &Session,
        reaper: &Reaper,
        request: RunRequest,
        give: Vec<PathBuf>,
    ) -> Result<(Arc<Self>, Vec<Copier>), String> {
        let cgroup = Cgroup::create("job");
        if let Some(cgroup) = &cgroup {
            cgroup.limit_processes();
        }
        let user = match owner(&request) {
            Some((file, name)) => {
                let said = format!(
                    "the job runs as user '{name}', who owns {file}: neither it nor the image names a user"
                );
                session.log(LogLevel::Info, &said);
                name
            }
            None => request.user,
        };
        let request = stage::Request {
            argv: request.argv,
            env: request.env,
            user,
            workdir: request.workdir,
            cgroup: cgroup.as_ref().map(|group| group.dir().to_owned()),
            stdin: PathBuf::from("/dev/null"),
            terminal: false,
            give,
        };
        if request.argv.is_empty() {
            return Err("there is no program to start: neither the job nor the image names one".to_owned());
        }
        let pipe = || pipe().map_err(|error| format!("the agent cannot make a pipe: {error}"));
        let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe()?, pipe()?);
        let pid = spawn::start(reaper, &request, stdout_end, stderr_end)?;
        let job = Arc::new(Self {
            cgroup,
            pid,
            since: Instant::now(),
            asked: AtomicBool::new(false),
            alive: Mutex::new(true),
        });
        let mut copiers = Vec::new();
        for (pipe, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            match Copier::start(pipe, session.job_output(stream)) {
                Ok(copier) => copiers.push(copier),
                Err(error) => {
                    job.signal(Signal::SIGKILL as i32);
                    return Err(format!("the agent cannot read the job's output: {error}"));
                }
            }
        }
        Ok((job, copiers))
    }

    /// [`Self::signal`], for the host: the result says so.
    pub(crate) fn ask(&self, signal: i32) -> bool {
        self.asked.store(true, Ordering::Relaxed);
        self.signal(signal)
    }

    /// Sends `signal` to all of the job's processes; false when there is no such signal (the real-time ones, which
    /// nobody sends from outside, count as such).
    pub(crate) fn signal(&self, signal: i32) -> bool {
        let Ok(signal) = Signal::try_from(signal) else { return false };
        if let Some(cgroup) = &self.cgroup {
            cgroup.signal(signal);
        } else if *self.alive.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = killpg(Pid::from_raw(self.pid), signal);
        }
        true
    }

    fn watch(
        &self,
        session: &Session,
        reaper: &Reaper,
        outputs: Vec<Copier>,
        before: OomKills,
        beside: &Beside,
    ) {
        let exit = reaper.wait(self.pid);
        let (ran, asked) = (self.since.elapsed(), self.asked.load(Ordering::Relaxed));
        let full = notes::disk();
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) = false;
        // Left-over children end with the job: nothing of it may still run, write or hold its output open when the
        // host hears of the end.
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        if let Beside::Ours(services) = beside {
            services.end();
            cgroup::kill_strays();
        }
        for output in outputs {
            output.finish();
        }
        let mut result = self.result(exit, before);
        result.ran_us = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX);
        result.asked = asked;
        result.notes.extend(full);
        session.exited(result);
    }

    /// How it ended and what it used.
    fn result(&self, exit: Exit, before: OomKills) -> JobResult {
        let killed = OomKills::now().since(before);
        // The group's own count misses processes that moved to another group.
        let killed_in_all = self.cgroup.as_ref().and_then(Cgroup::oom_kills).unwrap_or(0).max(killed.all);
        let at_limits = killed.at_limits.min(killed_in_all);
        // The others, which more memory would have helped.
        let oom_kills = killed_in_all - at_limits;
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
        let micros = |time: nix::sys::time::TimeVal| {
            u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)
        };
        let (user_us, system_us) = self
            .cgroup
            .as_ref()
            .and_then(Cgroup::cpu_us)
            .or_else(|| usage.map(|usage| (micros(usage.user_time()), micros(usage.system_time()))))
            .unwrap_or((0, 0));
        // Of the largest single process. Not memory.peak: it counts the page cache, and would say that a build which
        // read many files needed much memory.
        let max_rss_kib = usage.and_then(|usage| u64::try_from(usage.max_rss()).ok()).unwrap_or(0);
        JobResult {
            oom_kills: u32::try_from(oom_kills).unwrap_or(u32::MAX),
            user_us,
            system_us,
            max_rss_kib,
            notes: notes::processes(self.cgroup.as_ref(), oom_kills, at_limits),
            ..JobResult::new(exit)
        }
    }
}

/// The first file of the request's that there is, and who owns it, where the request names nobody.
fn owner(request: &RunRequest) -> Option<(String, String)> {
    if !request.user.is_empty() {
        return None;
    }
    let there = |file: &String| Some((file.clone(), std::fs::metadata(file).ok()?.uid()));
    let (file, uid) = request.owner_of.iter().find_map(there)?;
    let passwd = stage::read_accounts("/etc/passwd").unwrap_or_default();
    let name = users::name_of(uid, &passwd).filter(|_| uid != 0)?;
    Some((file, name.to_owned()))
}

fn unstartable(why: String) -> JobResult {
    JobResult::new(Exit::Unstartable(why))
}

/// A pipe that programs started at the same moment do not inherit: (ours to read, theirs to write).
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Carries one output of the job to the host. When the host is slow or away the pipe fills and the job waits.
struct Copier {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Copier {
    fn start(pipe: OwnedFd, out: JobOutput) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        let thread =
            std::thread::Builder::new().name("output".to_owned()).spawn(move || copy(pipe, out, &flag))?;
        Ok(Self { ended, thread })
    }

    /// The writers are gone: waits for the rest.
    fn finish(self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

/// Until the writers are gone. Once the job has `ended`, what the pipe holds is all that is its own: a process that it left
/// behind, where an image's own init looks after sessions, may write for ever.
fn copy(pipe: OwnedFd, mut out: impl Write, ended: &AtomicBool) {
    let mut rest = fcntl_getpipe_size(&pipe).unwrap_or(PIPE);
    let mut pipe = std::fs::File::from(pipe);
    let mut buffer = vec![0; 32 * 1024];
    let mut silent_since: Option<Instant> = None;
    loop {
        let wait = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&wait));
        match ready {
            Ok(0) if ended.load(Ordering::Relaxed) => {
                if silent_since.get_or_insert_with(Instant::now).elapsed() > SILENCE {
                    return;
                }
            }
            Ok(0) | Err(_) => {}
            Ok(_) => {
                silent_since = None;
                // Asked before the read: what comes afterwards is not counted too early.
                let over = ended.load(Ordering::Relaxed);
                match pipe.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => {
                        if out.write_all(&buffer[..count]).is_err() {
                            return;
                        }
                        if over {
                            rest = rest.saturating_sub(count);
                            if rest == 0 {
                                return;
                            }
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_leaves_behind_cannot_write_on_for_it() {
        let (ours, theirs) = pipe().unwrap();
        let mut theirs = std::fs::File::from(theirs);
        theirs.write_all(b"the job's last words\n").unwrap();
        let writer = std::thread::spawn(move || while theirs.write_all(&[b'x'; 100]).is_ok() {});
        let mut told = Vec::new();
        copy(ours, &mut told, &AtomicBool::new(true));
        assert!(told.starts_with(b"the job's last words\n"));
        writer.join().unwrap();
    }
}
