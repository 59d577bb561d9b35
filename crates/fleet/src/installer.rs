//! The program that installs: started, waited for, and ended with everything that it has started.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::time::timeout;

/// No installation takes longer.
const LONGEST: Duration = Duration::from_secs(3 * 3600);
/// To clean up in, once it was told to end.
const GRACE: Duration = Duration::from_secs(10);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Alone(ExitStatus),
    /// It was stopped, as asked.
    Stopped,
    /// It was stopped, after hours.
    TooLong,
}

/// Runs it, with this process's output, until it ends or `stop` does. It has a process group of its own: what it started ends
/// with it, and an interrupt at the terminal comes to us first. It has no input; logins work without, as was tried before.
///
/// # Errors
/// When it cannot be started.
pub async fn run(program: &str, arguments: &[String], stop: impl Future<Output = ()>) -> io::Result<Ended> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    // Only a child that was waited for has none.
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let kill = |signal| {
        // Whoever is gone cannot be told.
        if let Some(group) = group {
            let _ = kill_process_group(group, signal);
        }
    };
    let ended = tokio::select! {
        ended = timeout(LONGEST, child.wait()) => match ended {
            Ok(status) => return Ok(Ended::Alone(status?)),
            Err(_) => Ended::TooLong,
        },
        () = stop => Ended::Stopped,
    };
    kill(Signal::TERM);
    if timeout(GRACE, child.wait()).await.is_err() {
        kill(Signal::KILL);
        // One that the kernel does not let go, because of a disk that hangs, is not waited for.
        let _ = timeout(GRACE, child.wait()).await;
    }
    // The program itself may have gone before what it started.
    kill(Signal::KILL);
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::*;

    fn sh(script: &str) -> Vec<String> {
        vec!["-c".to_owned(), script.to_owned()]
    }

    async fn exists(file: &Path) {
        let begin = Instant::now();
        while !file.exists() {
            assert!(begin.elapsed() < Duration::from_secs(20), "{}", file.display());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn it_ends_by_itself() {
        let ended = run("sh", &sh("exit 3"), std::future::pending()).await.unwrap();
        assert!(matches!(ended, Ended::Alone(status) if status.code() == Some(3)));
        assert!(run("/nonexistent", &[], std::future::pending()).await.is_err());
    }

    #[tokio::test]
    async fn what_it_started_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let script = format!("sleep 1000 & echo $! > {0}.part; mv {0}.part {0}; wait", ready.display());
        let ended = run("sh", &sh(&script), exists(&ready)).await.unwrap();
        assert_eq!(ended, Ended::Stopped);
        let pid = std::fs::read_to_string(&ready).unwrap();
        // It was killed; that it is dead, too, takes the kernel a moment. Not yet reaped by whoever is init here, at most.
        let begin = Instant::now();
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{stat}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
