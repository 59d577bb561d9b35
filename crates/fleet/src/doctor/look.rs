//! Looking at the host: small files, and programs that are asked something.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Until a program must have answered.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Most of an answer that is read, in bytes.
const ANSWER_MAX: u64 = 1 << 20;

/// A file of the kernel's, trimmed; `None` when it is not there.
pub(super) fn text(path: impl AsRef<Path>) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// A number in a file of the kernel's.
pub(super) fn number(path: impl AsRef<Path>) -> Option<u64> {
    text(path)?.parse().ok()
}

/// What a program said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Answer {
    /// The first line that says something, from either stream, without control characters.
    pub(super) fn first_line(&self) -> String {
        let lines = self.stdout.lines().chain(self.stderr.lines());
        let line = lines.map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// Starts a program and waits for its answer. `Err` is the reason in words.
pub(super) async fn ask(program: &Path, args: &[&str], deadline: Duration) -> Result<Answer, String> {
    let shown = program.display();
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{shown}: its output cannot be read"));
    };
    let run = async { (tokio::join!(read(stdout), read(stderr)), child.wait().await) };
    let ended = tokio::time::timeout(deadline, run).await;
    match ended {
        Ok(((stdout, stderr), Ok(status))) => Ok(Answer { status, stdout, stderr }),
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

/// A program's file, with the system directories that a user's `PATH` may lack.
pub(super) fn locate(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The first three numbers of a version in a text: `QEMU emulator version 7.2.9 (Debian)` → (7, 2, 9).
pub(super) fn version(text: &str) -> Option<(u32, u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches('v');
        let mut parts = word.split(|c: char| !c.is_ascii_digit());
        let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((major, minor, parts.next().and_then(|part| part.parse().ok()).unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, is) in [
            ("QEMU emulator version 7.2.9 (Debian 1:7.2+dfsg-7)", Some((7, 2, 9))),
            ("Firecracker v1.17.0-dev", Some((1, 17, 0))),
            ("Jailer v1.12.1", Some((1, 12, 1))),
            ("nftables v1.0.6 (Lester Gooch #5)", Some((1, 0, 6))),
            ("mke2fs 1.47 (5-Feb-2023)", Some((1, 47, 0))),
            ("no version here", None),
        ] {
            assert_eq!(version(text), is, "{text}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_given_up() {
        let why = ask(Path::new("sleep"), &["60"], Duration::from_millis(200)).await.unwrap_err();
        assert!(why.contains("did not answer"), "{why}");
        let why = ask(Path::new("/nonexistent"), &[], DEADLINE).await.unwrap_err();
        assert!(why.contains("cannot be started"), "{why}");
        let answer = ask(Path::new("sh"), &["-c", "yes | head -c 4000000"], DEADLINE).await.unwrap();
        assert_eq!(answer.stdout.len() as u64, ANSWER_MAX);
    }
}
