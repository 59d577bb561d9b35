//! Progress while the jobs run: a line for each change, each job's first line, a sign of life when nothing changes, and
//! the whole output on request.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::template::Template;

/// A user is not left alone for longer.
const SILENCE: Duration = Duration::from_secs(5);

/// Prints what changed.
pub(crate) struct Watch {
    begun: Instant,
    logs: bool,
    spoke: Instant,
    said: BTreeMap<String, String>,
    followed: Vec<Followed>,
    pub(crate) template: Template,
}

/// A job whose output is followed.
struct Followed {
    name: &'static str,
    child: Child,
    output: Arc<Mutex<Output>>,
    first_said: bool,
    over: bool,
}

#[derive(Default)]
struct Output {
    first: Option<(Instant, String)>,
    last: String,
    lines: usize,
}

impl Watch {
    /// `log` is the server's.
    pub(crate) fn new(logs: bool, log: &Path) -> Self {
        let now = Instant::now();
        let template = Template::new(log.to_owned());
        Self { begun: now, logs, spoke: now, said: BTreeMap::new(), followed: Vec::new(), template }
    }

    /// Says how `what` stands, if that is new.
    pub(crate) fn say(&mut self, what: &str, standing: &str) {
        if self.said.get(what).is_none_or(|said| said != standing) {
            self.print(what, standing);
            self.said.insert(what.to_owned(), standing.to_owned());
        }
    }

    fn print(&mut self, what: &str, text: &str) {
        println!("demo: {:>5.1} s  {what:<20} {text}", self.begun.elapsed().as_secs_f64());
        self.spoke = Instant::now();
    }

    /// Follows a job's output.
    pub(crate) fn follow(&mut self, name: &'static str, mut logs: Command) -> anyhow::Result<()> {
        let mut child = logs.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = Arc::new(Mutex::new(Output::default()));
        if let Some(stdout) = child.stdout.take() {
            let (output, whole) = (Arc::clone(&output), self.logs);
            std::thread::spawn(move || {
                for line in std::io::BufReader::new(stdout).lines().map_while(Result::ok) {
                    if whole {
                        println!("{name:>12} | {line}");
                    }
                    output.lock().unwrap_or_else(PoisonError::into_inner).take(line);
                }
            });
        }
        self.followed.push(Followed { name, child, output, first_said: false, over: false });
        Ok(())
    }

    /// The job has ended: it gives no more signs of life.
    pub(crate) fn over(&mut self, name: &str) {
        self.followed.iter_mut().filter(|followed| followed.name == name).for_each(|f| f.over = true);
    }

    /// Says what came by itself: first lines, the template, and how far jobs are when nothing was said for a while.
    pub(crate) fn tick(&mut self) {
        if let Some(news) = self.template.news() {
            self.say("template", &news);
        }
        let silent = self.spoke.elapsed() > SILENCE && !self.logs;
        let mut lines = Vec::new();
        for followed in &mut self.followed {
            let output = followed.output.lock().unwrap_or_else(PoisonError::into_inner);
            match &output.first {
                Some((_, first)) if !followed.first_said => {
                    lines.push((followed.name, format!("first line: {first}")));
                    followed.first_said = true;
                }
                Some(_) if silent && !followed.over => {
                    lines.push((followed.name, format!("line {}: {}", output.lines, output.last)));
                }
                _ => {}
            }
        }
        for (name, line) in lines {
            self.print(name, &line);
        }
    }

    /// When the first line of any job came.
    pub(crate) fn first_line(&self) -> Option<Instant> {
        let first = |followed: &Followed| {
            let output = followed.output.lock().unwrap_or_else(PoisonError::into_inner);
            output.first.as_ref().map(|(at, _)| *at)
        };
        self.followed.iter().filter_map(first).min()
    }

    /// Ends what still follows.
    pub(crate) fn finish(&mut self) {
        for followed in &mut self.followed {
            let _ = followed.child.kill();
            let _ = followed.child.wait();
        }
    }
}

impl Output {
    fn take(&mut self, line: String) {
        self.lines += 1;
        if line.trim().is_empty() {
            return;
        }
        if self.first.is_none() {
            self.first = Some((Instant::now(), line.clone()));
        }
        self.last = line;
    }
}
