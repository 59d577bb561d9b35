//! At SIGHUP the server starts its successor: the program that is installed now, with the same arguments, which then
//! takes over by the way that `server --replace` always does. It stays in the service's cgroup.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::process::{Child, Command};

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

    /// Starts it. Dropping the child leaves it running.
    pub(super) fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(std::process::Stdio::null());
        if !self.arguments.iter().any(|argument| argument == "--replace") {
            command.arg("--replace");
        }
        for variable in OURS {
            command.env_remove(variable);
        }
        command.spawn()
    }
}
