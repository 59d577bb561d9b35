//! Programs beside the job: `fireactions exec` and `login`. Each has a control group of its own and ends with its
//! first process: what it leaves running is killed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use fireactions_guest_proto::guest::{Exec, ExecControl, ExecSignal};
use fireactions_guest_proto::{Exit, WinSize};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::cgroup::Cgroup;
use crate::job::pipe;
use crate::reaper::Reaper;
use crate::{spawn, stage};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// End of input, as a person at a terminal says it (Ctrl-D).
const END_OF_TRANSMISSION: u8 = 4;

/// The agent's ends of a program's input and outputs.
struct Ends {
    /// Where the program finds its standard input.
    stdin_path: PathBuf,
    /// Kept open until the program has opened its input.
    stdin_theirs: Option<OwnedFd>,
    stdin: File,
    stdout: File,
    stderr: Option<File>,
    stdout_theirs: OwnedFd,
    stderr_theirs: OwnedFd,
    /// The terminal, for its size.
    terminal: Option<OwnedFd>,
}

/// Runs one program to its end, in the calling thread.
pub(crate) fn run(exec: Exec, reaper: &Reaper) {
    let Exec { request, mut stdin, mut stdout, mut stderr, control } = exec;
    let ends = match request.tty.map_or_else(with_pipes, with_terminal) {
        Ok(ends) => ends,
        Err(error) => {
            return control.finish(Exit::Unstartable(format!("the agent cannot make its input: {error}")));
        }
    };
    let cgroup = Cgroup::create(&format!("exec-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let request = stage::Request {
        argv: request.argv,
        env: request.env,
        user: request.user,
        workdir: request.workdir,
        cgroup: cgroup.as_ref().map(|group| group.dir().to_owned()),
        stdin: ends.stdin_path,
        terminal: ends.terminal.is_some(),
        give: Vec::new(),
    };
    let pid = match spawn::start(reaper, &request, ends.stdout_theirs, ends.stderr_theirs) {
        Ok(pid) => pid,
        Err(why) => {
            if let Some(cgroup) = cgroup {
                cgroup.end();
            }
            return control.finish(Exit::Unstartable(why));
        }
    };
    drop(ends.stdin_theirs);

    let on_terminal = ends.terminal.is_some();
    let mut input = ends.stdin;
    let feeder = thread("exec-stdin", move || {
        let _ = io::copy(&mut stdin, &mut input);
        if on_terminal {
            let _ = input.write_all(&[END_OF_TRANSMISSION]);
        }
    });
    let mut outputs = vec![thread("exec-stdout", move || pass(ends.stdout, &mut stdout))];
    match ends.stderr {
        Some(file) => outputs.push(thread("exec-stderr", move || pass(file, &mut stderr))),
        None => drop(stderr),
    }
    let cgroup = Arc::new(cgroup);
    let watcher = {
        let (control, cgroup, terminal) = (control.clone(), Arc::clone(&cgroup), ends.terminal);
        thread("exec-control", move || watch(&control, cgroup.as_ref().as_ref(), pid, terminal.as_ref()))
    };

    let exit = reaper.wait(pid);
    if let Some(cgroup) = cgroup.as_ref() {
        cgroup.kill();
    }
    // The writers are dead, so both outputs end; they end early when the host has gone.
    for output in outputs.into_iter().flatten() {
        let _ = output.join();
    }
    control.finish(exit);
    // Both are woken by `finish`.
    for helper in [feeder, watcher].into_iter().flatten() {
        let _ = helper.join();
    }
    if let Some(cgroup) = Arc::into_inner(cgroup).flatten() {
        cgroup.end();
    }
}

/// Follows the host's wishes until it hangs up or the program has ended.
fn watch(control: &ExecControl, cgroup: Option<&Cgroup>, pid: i32, terminal: Option<&OwnedFd>) {
    loop {
        match control.next() {
            ExecSignal::Resize(size) => {
                if let Some(terminal) = terminal {
                    let _ = tcsetwinsize(terminal, winsize(size));
                }
            }
            ExecSignal::Gone => {
                match cgroup {
                    Some(cgroup) => {
                        cgroup.kill();
                    }
                    None => drop(killpg(Pid::from_raw(pid), Signal::SIGKILL)),
                }
                return;
            }
        }
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    // Without the thread its end of the pipe is dropped and the program sees an end of file.
    std::thread::Builder::new().name(name.to_owned()).spawn(body).ok()
}

/// Carries one output until its end. A terminal whose last program has closed it says EIO.
fn pass(mut from: File, to: &mut impl Write) {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                // The host has hung up: no one reads, and the program is told so by a broken pipe.
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = to.flush();
}

fn with_pipes() -> io::Result<Ends> {
    let ((stdin_theirs, stdin), (stdout, stdout_theirs), (stderr, stderr_theirs)) =
        (pipe()?, pipe()?, pipe()?);
    Ok(Ends {
        stdin_path: PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), stdin_theirs.as_raw_fd())),
        stdin_theirs: Some(stdin_theirs),
        stdin: stdin.into(),
        stdout: stdout.into(),
        stderr: Some(stderr.into()),
        stdout_theirs,
        stderr_theirs,
        terminal: None,
    })
}

fn with_terminal(size: WinSize) -> io::Result<Ends> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?.into_string().map_err(io::Error::other)?;
    let theirs = rustix::fs::open(
        &path,
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    tcsetwinsize(&ours, winsize(size))?;
    Ok(Ends {
        stdin_path: path.into(),
        stdin_theirs: None,
        stdin: ours.try_clone()?.into(),
        stdout: ours.try_clone()?.into(),
        stderr: None,
        stdout_theirs: theirs.try_clone()?,
        stderr_theirs: theirs,
        terminal: Some(ours),
    })
}

fn winsize(size: WinSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 }
}
