//! At SIGHUP the server starts its successor: the program that is installed now, with the same arguments, which then
//! takes over by the way that `server --replace` always does. It stays in the service's cgroup.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};

/// Until it must have taken over, or ended. It looks at its VMM and makes boot files first, which takes a minute on a slow host.
const DEADLINE: Duration = Duration::from_secs(600);
/// A process that was killed ends at once, unless a disk hangs.
const KILLED: Duration = Duration::from_secs(10);
/// Set for a server that another one started to take over from it. An older program does not know it, and does without.
const MARK: &str = "FIREACTIONS_SUCCESSOR";

/// Variables that speak of this process alone.
const OURS: [&str; 6] =
    ["WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD"];

/// How this server was started.
pub(super) struct Launcher {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Launcher {
    /// To be called at the start: the file that we are may be removed later, when another takes its name.
    pub(super) fn new() -> std::io::Result<Self> {
        let mut arguments = std::env::args_os();
        let named = arguments.next().map(PathBuf::from);
        // By the name that we were called by where it is a path, so that a link is followed again; one that was found
        // in PATH is told by the system.
        let program = match named {
            Some(path) if path.components().count() > 1 => std::path::absolute(path)?,
            _ => std::env::current_exe()?,
        };
        Ok(Self { program, arguments: arguments.collect() })
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Starts it. Dropping it leaves it running.
    pub(super) fn start(&self) -> std::io::Result<Successor> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(std::process::Stdio::null());
        if !self.arguments.iter().any(|argument| argument == "--replace") {
            command.arg("--replace");
        }
        for variable in OURS {
            command.env_remove(variable);
        }
        let child = command.env(MARK, "1").spawn()?;
        Ok(Successor { child, deadline: Instant::now() + DEADLINE })
    }
}

/// Whether this server was started by another one to take over from it. It must not start alone then: that one has been
/// stopped meanwhile, and whoever stopped it does not know of us.
pub(super) fn is_successor() -> bool {
    std::env::var_os(MARK).is_some()
}

/// A server that was started to take over from this one, and has not done so yet.
pub(super) struct Successor {
    child: Child,
    deadline: Instant,
}

impl Successor {
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns when it has ended without taking over, with how. One that does nothing for too long is killed. Cancel-safe.
    pub(super) async fn ended(&mut self) -> String {
        match timeout_at(self.deadline, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                self.kill().await;
                format!("it had not taken over after {DEADLINE:?}, and was killed")
            }
        }
    }

    /// Makes sure that it is no more. It may be killed anywhere: like every server, it leaves nothing that the next one does
    /// not find.
    pub(super) async fn kill(&mut self) {
        if let Err(error) = self.child.start_kill() {
            tracing::warn!(%error, "the new server cannot be killed");
        }
        if tokio::time::timeout(KILLED, self.child.wait()).await.is_err() {
            tracing::error!(
                pid = self.child.id(),
                "the new server does not die; kill it before you start another"
            );
        }
    }
}
