//! Asking a program something: with a deadline, and a bound for its answer.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Until a program must have answered.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Most of an answer that is read, in bytes.
const ANSWER_MAX: u64 = 1 << 20;

/// What a program said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The first line that says something, from either stream, without control characters.
    pub(crate) fn first_line(&self) -> String {
        let lines = self.stdout.lines().chain(self.stderr.lines());
        let line = lines.map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// Starts a program and waits for its answer. `Err` is the reason in words.
pub(crate) async fn ask(program: &Path, args: &[&str], deadline: Duration) -> Result<Answer, String> {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C");
    tell(command, b"", deadline).await
}

/// The same with a command that is told something on its standard input.
pub(crate) async fn tell(mut command: Command, input: &[u8], deadline: Duration) -> Result<Answer, String> {
    let shown = PathBuf::from(command.as_std().get_program());
    let shown = shown.display();
    let mut child = command
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{shown}: its output cannot be read"));
    };
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not want to hear the rest has its reasons, and its answer says them.
            let _ = stdin.write_all(input).await;
        }
    };
    let run = async { (tokio::join!(read(stdout), read(stderr), write), child.wait().await) };
    let ended = tokio::time::timeout(deadline, run).await;
    match ended {
        Ok(((stdout, stderr, ()), Ok(status))) => Ok(Answer { status, stdout, stderr }),
        Ok((_, Err(error))) => Err(format!("{shown}: {error}")),
        Err(_) => Err(format!("{shown} did not answer in {} s", deadline.as_secs())),
    }
}

/// The beginning of what comes. Then the pipe is closed: a program that says more would wait for its reader for ever.
async fn read(pipe: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // What came before an error is still an answer.
    let _ = pipe.take(ANSWER_MAX).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_does_not_end_is_given_up() {
        let why = ask(Path::new("sleep"), &["60"], Duration::from_millis(200)).await.unwrap_err();
        assert!(why.contains("did not answer"), "{why}");
        let why = ask(Path::new("/nonexistent"), &[], DEADLINE).await.unwrap_err();
        assert!(why.contains("cannot be started"), "{why}");
        let answer = ask(Path::new("sh"), &["-c", "yes | head -c 4000000"], DEADLINE).await.unwrap();
        assert_eq!(answer.stdout.len() as u64, ANSWER_MAX);
    }

    #[tokio::test]
    async fn a_program_is_told_something_and_need_not_listen() {
        let input = vec![b'x'; 300_000];
        let answer = tell(Command::new("cat"), &input, DEADLINE).await.unwrap();
        assert_eq!(answer.stdout.len(), 300_000);
        let answer = tell(Command::new("true"), &input, DEADLINE).await.unwrap();
        assert!(answer.status.success());
    }
}
