//! Progress while the jobs run: a line for each change, and the output on request.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Prints what changed.
pub(crate) struct Watch {
    begun: Instant,
    logs: bool,
    said: BTreeMap<String, String>,
    followers: Vec<Child>,
}

impl Watch {
    pub(crate) fn new(logs: bool) -> Self {
        Self { begun: Instant::now(), logs, said: BTreeMap::new(), followers: Vec::new() }
    }

    /// Says how `what` stands, if that is new.
    pub(crate) fn say(&mut self, what: &str, standing: &str) {
        if self.said.get(what).is_none_or(|said| said != standing) {
            println!("demo: {:>5.1} s  {what:<20} {standing}", self.begun.elapsed().as_secs_f64());
            self.said.insert(what.to_owned(), standing.to_owned());
        }
    }

    /// Follows a job's output, when that was asked for.
    pub(crate) fn follow(&mut self, name: &str, mut logs: Command) -> anyhow::Result<()> {
        if !self.logs {
            return Ok(());
        }
        let mut child = logs.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        if let Some(output) = child.stdout.take() {
            let name = name.to_owned();
            std::thread::spawn(move || {
                for line in std::io::BufReader::new(output).lines().map_while(Result::ok) {
                    println!("{name:>12} | {line}");
                }
            });
        }
        self.followers.push(child);
        Ok(())
    }

    /// Ends what still follows.
    pub(crate) fn finish(&mut self) {
        for child in &mut self.followers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
