//! The template that machines are cloned from. Its machine has no row, so only the server's log tells of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the log says, and what that means to a user.
const LINES: [(&str, Told); 3] = [
    ("a template is being made", Told::Begun),
    ("template published", Told::Made),
    ("no template could be made", Told::Failed),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Begun,
    Made,
    Failed,
}

/// Reads the log as it grows.
pub(crate) struct Template {
    log: PathBuf,
    at: u64,
    begun: Option<Instant>,
    took: Option<Duration>,
}

impl Template {
    /// The log is this run's own, so all of it is looked at.
    pub(crate) fn new(log: PathBuf) -> Self {
        Self { log, at: 0, begun: None, took: None }
    }

    /// How long its making took; `None` when an earlier run's was there.
    pub(crate) fn took(&self) -> Option<Duration> {
        self.took
    }

    /// What is new, in words.
    pub(crate) fn news(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut file = File::open(&self.log).ok()?;
        file.seek(SeekFrom::Start(self.at)).ok()?;
        file.read_to_string(&mut text).ok()?;
        // A line that is being written is read whole the next time.
        let whole = text.rfind('\n')? + 1;
        self.at += whole as u64;
        let told = |line: &str| LINES.iter().find(|(words, _)| line.contains(words)).map(|(_, told)| *told);
        match text[..whole].lines().filter_map(told).next_back()? {
            Told::Begun => {
                self.begun = Some(Instant::now());
                Some("a machine boots only to be frozen: others will be its clones".to_owned())
            }
            Told::Made => {
                let took = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
                self.took = Some(took);
                Some(format!("made in {:.1} s: from now on machines are clones of it", took.as_secs_f64()))
            }
            Told::Failed => Some("could not be made; machines boot (the server's log says why)".to_owned()),
        }
    }
}
