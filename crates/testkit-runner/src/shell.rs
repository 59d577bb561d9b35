//! One command of a step, with its output line by line.

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The longest line; a longer one becomes several.
const LINE: u64 = 64 << 10;
/// Lines on their way to the log. A command that writes more waits.
const LINES: usize = 1024;
/// How often a command that says nothing is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long after a command's end its output may still come: what it left running may hold the pipe for ever.
const AFTER: Duration = Duration::from_secs(2);

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an exit code, or 128 and a signal's number.
    Exit(i32),
    /// Killed: the job is to stop.
    Stopped,
    /// Killed: its time was up.
    TimedOut,
}

/// Runs a command in a process group of its own. `stop` is asked again and again.
pub(crate) fn run(
    mut command: Command,
    deadline: Option<Instant>,
    stop: &dyn Fn() -> bool,
    line: &mut dyn FnMut(&str),
) -> Result<Ended, String> {
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let (output, input) = std::io::pipe().map_err(|error| failed("a pipe cannot be made", error))?;
    let other = input.try_clone().map_err(|error| failed("a pipe cannot be made", error))?;
    command.stdin(Stdio::null()).stdout(input).stderr(other).process_group(0);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| failed(&program, error))?;
    // It holds the pipe's other end, too.
    drop(command);
    let (sender, lines) = sync_channel(LINES);
    std::thread::spawn(move || read(output, &sender));
    let mut killed = None;
    let status = loop {
        if killed.is_none() {
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            killed = if stop() { Some(Ended::Stopped) } else { late.then_some(Ended::TimedOut) };
            if killed.is_some() {
                // A group that is gone is what is wanted.
                let _ = i32::try_from(child.id()).map(|id| killpg(Pid::from_raw(id), Signal::SIGKILL));
            }
        }
        match lines.recv_timeout(LOOK) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Timeout) => {}
            // The output is closed, the command may go on.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
        }
        if let Some(status) = child.try_wait().map_err(|error| failed(&program, error))? {
            break status;
        }
    };
    rest(&lines, line);
    Ok(killed.unwrap_or_else(|| Ended::Exit(code(status))))
}

fn rest(lines: &Receiver<String>, line: &mut dyn FnMut(&str)) {
    let end = Instant::now() + AFTER;
    while let Ok(text) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        line(&text);
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn read(output: PipeReader, lines: &SyncSender<String>) {
    let mut output = BufReader::new(output);
    loop {
        let mut bytes = Vec::new();
        if output.by_ref().take(LINE).read_until(b'\n', &mut bytes).is_err() || bytes.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        if lines.send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, deadline: Option<Instant>, stop: bool) -> (Ended, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut said = Vec::new();
        let ended = run(command, deadline, &|| stop, &mut |line| said.push(line.to_owned())).unwrap();
        (ended, said)
    }

    #[test]
    fn output_and_exit_code() {
        assert_eq!(
            sh("echo one; echo two >&2; exit 3", None, false),
            (Ended::Exit(3), vec!["one".to_owned(), "two".to_owned()])
        );
        assert_eq!(sh("kill -9 $$", None, false).0, Ended::Exit(137));
    }

    #[test]
    fn what_is_stopped_goes_with_all_that_it_started() {
        assert_eq!(sh("sleep 1000 & sleep 1000", None, true).0, Ended::Stopped);
        assert_eq!(sh("sleep 1000 & sleep 1000", Some(Instant::now()), false).0, Ended::TimedOut);
    }

    #[test]
    fn what_is_left_running_holds_nobody() {
        let (ended, said) = sh("sleep 1000 & echo $!", None, false);
        assert_eq!(ended, Ended::Exit(0));
        let left = Pid::from_raw(said[0].parse().unwrap());
        nix::sys::signal::kill(left, Signal::SIGKILL).unwrap();
    }
}
