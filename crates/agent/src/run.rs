//! Serving the host: the loop that both ways of starting end in.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fireactions_guest_proto::guest::{About, Channel, Event, Session};
use fireactions_guest_proto::{Exit, LogLevel, Service, StickyDisk};

use nix::sys::signal::Signal;

use crate::cmdline::Cmdline;
use crate::console::say;
use crate::identity::Before;
use crate::job::{Beside, Job};
use crate::reaper::Reaper;
use crate::services::Services;
use crate::sticky::Sticky;
use crate::{archive, clock, drop_ins, enter, exec, files, identity, power, renew, settle};

/// Only bounds one wait for the host; nothing happens when it passes.
const IDLE: Duration = Duration::from_secs(3600);

/// What was queued for the host before a power-off gets this long to leave.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// Most paths that are remembered for the job's user.
const MOST_GIVEN: usize = 16 * 1024;

/// What the agent is in this guest.
pub(crate) enum Role {
    /// PID 1.
    Init(Root),
    /// A service beside the image's own init.
    Service {
        /// Names of the SSH host keys that the image has.
        image_keys: Vec<String>,
        /// The machine was to be frozen: whatever gets an identity now is a clone.
        is_settled: bool,
    },
}

/// How far PID 1 is with the machine's root.
pub(crate) enum Root {
    /// Still in the initramfs; what these words say is to be mounted once the machine has an identity.
    Waiting(Cmdline),
    /// Switched to; the root directory of the scratch disk's file system, to be closed at the end.
    Entered(OwnedFd),
}

/// Said about files and programs as long as there is no root.
const NO_ROOT: &str = "the machine has no root file system yet: it was not given its identity";

/// Serves the host for ever. Returns only what made that impossible.
pub(crate) fn run(channel: Channel, role: Role, boot_us: u64) -> String {
    // In a guest without memory the job has to go, not the one who reports it.
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "-1000") {
        say(format_args!("cannot exempt the agent from OOM kills: {error}"));
    }
    let reaper = match Reaper::start() {
        Ok(reaper) => reaper,
        Err(error) => return format!("cannot start the reaper: {error}"),
    };
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let about = About { agent_version: crate::VERSION.to_owned(), kernel, boot_us };
    let session = match Session::start(channel, about) {
        Ok(session) => session,
        Err(error) => return format!("cannot start the session with the host: {error}"),
    };
    let server = Server {
        session,
        reaper,
        role,
        job: None,
        services: Services::default(),
        variables: Vec::new(),
        sticky: Arc::default(),
        given: Arc::default(),
    };
    server.serve()
}

/// Microseconds since the kernel started.
pub(crate) fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap_or(0)
}

struct Server {
    session: Session,
    reaper: Arc<Reaper>,
    role: Role,
    job: Option<Arc<Job>>,
    services: Services,
    /// What jobs have in their environment for the host's files, unless they say something themselves.
    variables: Vec<(String, String)>,
    /// Disks that outlive the machine.
    sticky: Arc<Sticky>,
    /// Paths put in before the job starts: they become the job's user's.
    given: Arc<Mutex<Vec<PathBuf>>>,
}

impl Server {
    fn serve(mut self) -> String {
        loop {
            if let Some(event) = self.session.next(IDLE) {
                self.handle(event);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected { .. } | Event::Disconnected => {}
            Event::Settle { timeout } => self.settle(timeout),
            Event::Configure(identity) => {
                let before = match &self.role {
                    Role::Init(_) => Before::Nothing,
                    Role::Service { is_settled: false, .. } => Before::Init,
                    Role::Service { is_settled: true, .. } => Before::FrozenInit,
                };
                let result = identity::apply(&identity, before, || self.enter_root(&identity.sticky));
                if result.is_ok() {
                    let put = drop_ins::put(&identity.drop_ins, &identity.services);
                    for said in put.left_out {
                        self.session.log(LogLevel::Info, &said);
                    }
                    self.variables = put.variables;
                }
                self.start_services(identity.services, result);
            }
            Event::Run(mut request) => {
                let missing = |(name, _): &(String, String)| request.env.iter().all(|(own, _)| own != name);
                let more: Vec<_> = self.variables.iter().filter(|one| missing(one)).cloned().collect();
                request.env.extend(more);
                let beside = match &self.role {
                    Role::Service { .. } => Beside::TheImages,
                    Role::Init(_) => Beside::Ours(self.services.clone()),
                };
                let given = std::mem::take(&mut *self.given.lock().unwrap_or_else(PoisonError::into_inner));
                let said = self.sticky.said();
                self.job = Job::start(&self.session, &self.reaper, request, given, beside, said);
            }
            Event::Signal(signal) => {
                if let Some(job) = &self.job
                    && !job.ask(signal)
                {
                    self.session.log(LogLevel::Warn, &format!("{signal} is not a signal that can be sent"));
                }
            }
            Event::PutFile(put) if self.is_rootless() => put.done.finish(Err(NO_ROOT.to_owned())),
            Event::PutFile(put) => {
                let given = self.job.is_none().then(|| Arc::clone(&self.given));
                self.beside("put-file", move || {
                    let result = files::put(&put.dest, put.mode, put.size, put.data).map(|made| {
                        if let Some(given) = given {
                            let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
                            let room = MOST_GIVEN.saturating_sub(given.len());
                            given.extend(made.into_iter().take(room));
                        }
                    });
                    put.done.finish(result);
                });
            }
            Event::GetFile(get) if self.is_rootless() => get.done.finish(Err(NO_ROOT.to_owned())),
            Event::GetFile(mut get) => self.beside("get-file", move || {
                let result = archive::write(&get.path, get.last, &mut get.data);
                get.done.finish(result);
            }),
            Event::Exec(exec) if self.is_rootless() => {
                exec.control.finish(Exit::Unstartable(NO_ROOT.to_owned()));
            }
            Event::Exec(exec) => {
                let reaper = Arc::clone(&self.reaper);
                self.beside("exec", move || exec::run(exec, &reaper));
            }
            Event::Clock { unix_nanos } => {
                if let Some(said) = clock::follow(unix_nanos) {
                    self.session.log(LogLevel::Info, &said);
                }
            }
            Event::Release => {
                let (session, sticky) = (self.session.clone(), Arc::clone(&self.sticky));
                self.beside("release", move || session.released(sticky.release()));
            }
            Event::PowerOff => {
                if let Some(job) = &self.job {
                    job.signal(Signal::SIGKILL as i32);
                }
                self.session.flush(FLUSH_DEADLINE);
                power::off(match &self.role {
                    Role::Init(Root::Entered(scratch)) => Some(scratch),
                    Role::Init(Root::Waiting(_)) | Role::Service { .. } => None,
                });
            }
        }
    }

    /// Waits until the machine can be frozen, and tells the host; that is heard meanwhile.
    fn settle(&mut self, timeout: Duration) {
        let Role::Service { is_settled, .. } = &mut self.role else {
            // It is nobody yet, and nothing of the image has run.
            return self.session.settled(Ok(()));
        };
        *is_settled = true;
        let (session, reaper) = (self.session.clone(), Arc::clone(&self.reaper));
        self.beside("settle", move || session.settled(settle::settle(&reaper, timeout)));
    }

    /// Starts the machine's services once the rest of `identity` is applied, and tells the host how it went. They may take
    /// their time, in which the host is heard.
    fn start_services(&self, list: Vec<Service>, applied: Result<(), String>) {
        let (session, reaper, services) =
            (self.session.clone(), Arc::clone(&self.reaper), self.services.clone());
        let image_keys = match &self.role {
            Role::Service { image_keys, is_settled: true } => Some(image_keys.clone()),
            _ => None,
        };
        let unusable = self.sticky.unusable();
        let boots_beside = matches!(self.role, Role::Service { is_settled: false, .. });
        let rest = move || {
            if boots_beside
                && applied.is_ok()
                && let Err(why) = settle::set_up(&reaper)
            {
                session
                    .log(LogLevel::Warn, &format!("the image's init: {why}; the machine is used as it is"));
            }
            let result = applied.and_then(|()| {
                let failed = image_keys.map(|keys| renew::rest(&reaper, &keys)).unwrap_or_default();
                for why in failed {
                    session.log(LogLevel::Warn, &why);
                }
                services.start(list, &reaper, &session)
            });
            if let Err(error) = &result {
                say(format_args!("cannot configure the machine: {error}"));
            }
            session.configured(result.map(|()| unusable));
        };
        self.beside("services", rest);
    }

    fn is_rootless(&self) -> bool {
        matches!(self.role, Role::Init(Root::Waiting(_)))
    }

    /// Switches PID 1 to the machine's root, unless it is there already.
    fn enter_root(&mut self, disks: &[StickyDisk]) -> Result<(), String> {
        if let Role::Init(root) = &mut self.role
            && let Root::Waiting(cmdline) = root
        {
            let (scratch, sticky) = enter::root(cmdline, true, disks)?;
            *root = Root::Entered(scratch);
            self.sticky = Arc::new(sticky);
        }
        Ok(())
    }

    /// Does one thing in a thread of its own. The protocol bounds how many there are at once.
    fn beside(&self, name: &str, body: impl FnOnce() + Send + 'static) {
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(body) {
            // Dropping the body closes its streams, which tells the host.
            self.session.log(LogLevel::Warn, &format!("cannot start a thread for {name}: {error}"));
        }
    }
}
