//! The agent's half of starting a program; the child's is stage.rs.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::reaper::Reaper;
use crate::stage::{self, Request};

/// From fork to exec: milliseconds, but the guest may be starved by its host.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Starts the program with these outputs. `Ok` means that it was executed; an error is for people.
pub(crate) fn start(
    reaper: &Reaper,
    request: &Request,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> Result<i32, String> {
    let agent = |error: io::Error| format!("the agent cannot start a process: {error}");
    let (ours, theirs) = UnixStream::pair().map_err(agent)?;
    // All other descriptors of the agent close on exec (the standard library and rustix see to that).
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("fireactions-agent")
        .arg(stage::VERB)
        // The stage runs as root: nothing of the job's environment may steer it.
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr));
    let pid = reaper.spawn(&mut command).map_err(agent)?;
    // Its copies of the program's ends must go: the end of output is when no one holds them.
    drop(command);

    let complaint = converse(ours, request).unwrap_or_else(|error| {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
        format!("the process did not start: {error}")
    });
    if complaint.is_empty() {
        return Ok(pid);
    }
    reaper.wait(pid);
    Err(complaint)
}

/// Sends the request; returns the stage's error, or nothing if it has become the program.
fn converse(mut socket: UnixStream, request: &Request) -> io::Result<String> {
    socket.set_read_timeout(Some(START_DEADLINE))?;
    socket.set_write_timeout(Some(START_DEADLINE))?;
    socket.write_all(&serde_json::to_vec(request)?)?;
    socket.shutdown(Shutdown::Write)?;
    let mut complaint = Vec::new();
    socket.take(4096).read_to_end(&mut complaint)?;
    Ok(String::from_utf8_lossy(&complaint).into_owned())
}
