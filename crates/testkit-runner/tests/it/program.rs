//! The program, in a directory of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fireactions_testkit::real_gitea::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a test waits for it.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// One that runs. Killed when dropped.
pub(crate) struct Program {
    dir: tempfile::TempDir,
    child: Child,
}

impl Program {
    /// Starts it with these words, beside these files.
    pub(crate) fn start(words: &[&str], files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let said = File::create(dir.path().join("said")).unwrap();
        let words: Vec<String> =
            words.iter().map(|word| word.replace("DIR", &dir.path().display().to_string())).collect();
        let child = Command::new(env!("CARGO_BIN_EXE_fireactions-testkit-runner"))
            .args(words)
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Self { dir, child }
    }

    /// Waits for its end: the exit code, and its lines without their times.
    pub(crate) fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let status = wait_for(WITHIN, "the runner to end", || self.child.try_wait().unwrap());
        (status.code(), self.lines())
    }

    /// Its lines so far, without their times.
    pub(crate) fn lines(&self) -> Vec<String> {
        let said = fs::read_to_string(self.dir.path().join("said")).unwrap();
        let line = |line: &str| match line.strip_prefix("time=\"").and_then(|rest| rest.split_once("\" ")) {
            Some((_, rest)) => rest.to_owned(),
            None => line.to_owned(),
        };
        said.lines().map(line).collect()
    }

    /// Waits for a line with these words.
    pub(crate) fn says(&self, words: &str) {
        wait_for(WITHIN, &format!("the runner to say '{words}'"), || {
            self.lines().iter().any(|line| line.contains(words)).then_some(())
        });
    }

    /// A file in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
