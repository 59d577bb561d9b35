//! What the server hears of a task: rows of its log and how far it is, once a second, from a thread of its own.
//!
//! As with the real runners, a server that refuses ends nothing: the job runs on, and the last words are tried ten times,
//! for 51 seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::log::{self, Level, now};
use crate::rpc::Client;
use crate::wire::{Row, StepState, TaskState, Verdict};

/// Between two reports.
const EVERY: Duration = Duration::from_secs(1);
/// The most rows of one message.
const ROWS: usize = 1000;
/// The most rows that wait for the server. What comes after that is lost, and the log says so.
const WAITING: usize = 100_000;
/// Attempts at the last words, and the first wait between two. Each is twice the one before.
const ATTEMPTS: u32 = 10;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A task's report. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Report {
    shared: Arc<Shared>,
}

/// What ends a report.
pub(crate) struct Reporting {
    report: Report,
    thread: JoinHandle<()>,
}

struct Shared {
    client: Client,
    task: String,
    /// Whether a refused report is worth a line.
    warns: bool,
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    /// Rows that the server does not have yet.
    rows: Vec<Row>,
    /// The first of them in the whole log.
    first: usize,
    state: TaskState,
    outputs: BTreeMap<String, String>,
    secrets: Vec<String>,
    cancelled: bool,
    over: bool,
    /// The server has the whole log and was told so. It takes no more of it, not even nothing.
    closed: bool,
}

impl Report {
    /// Begins one. `warns`: a report that the server refuses gives a line, as of forgejo-runner.
    pub(crate) fn begin(client: Client, task: &str, secrets: Vec<String>, warns: bool) -> (Self, Reporting) {
        let said = Said {
            state: TaskState { id: task.to_owned(), ..TaskState::default() },
            secrets: secrets.into_iter().filter(|secret| !secret.is_empty()).collect(),
            ..Said::default()
        };
        let shared =
            Shared { client, task: task.to_owned(), warns, said: Mutex::new(said), changed: Condvar::new() };
        let report = Self { shared: Arc::new(shared) };
        let reporter = Arc::clone(&report.shared);
        let thread = std::thread::spawn(move || reporter.run());
        (report.clone(), Reporting { report, thread })
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.shared.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row of the log, without any secret.
    pub(crate) fn row(&self, text: &str) {
        let mut said = self.said();
        if said.rows.len() > WAITING {
            return;
        }
        let mut content = text.to_owned();
        for secret in &said.secrets {
            content = content.replace(secret, "***");
        }
        if said.rows.len() == WAITING {
            "(rows are lost from here on: the server takes none)".clone_into(&mut content);
        }
        said.rows.push(Row { time: now(), content });
        let next = said.first + said.rows.len();
        // It is a row of the step that runs.
        if let Some(step) = said.state.steps.last_mut().filter(|step| step.stopped_at.is_none()) {
            step.log_length = next - step.log_index;
        }
    }

    /// From now on, this is not in the log.
    pub(crate) fn hide(&self, secret: &str) {
        if !secret.is_empty() {
            self.said().secrets.push(secret.to_owned());
        }
    }

    /// The job runs.
    pub(crate) fn began(&self) {
        self.said().state.started_at = Some(now());
    }

    /// The next step runs.
    pub(crate) fn step_began(&self) {
        let mut said = self.said();
        let (id, log_index) = (said.state.steps.len(), said.first + said.rows.len());
        said.state.steps.push(StepState { id, log_index, started_at: Some(now()), ..StepState::default() });
    }

    /// The step that ran is over.
    pub(crate) fn step_ended(&self, result: Verdict) {
        if let Some(step) = self.said().state.steps.last_mut() {
            (step.result, step.stopped_at) = (result, Some(now()));
        }
    }

    /// Whether somebody ended the task at the server. A server that has forgotten the runner does not tell.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.said().cancelled
    }
}

impl Reporting {
    /// The last words. Returns when the server has heard them, or never will.
    pub(crate) fn end(self, result: Verdict, outputs: BTreeMap<String, String>) {
        {
            let mut said = self.report.said();
            (said.state.result, said.state.stopped_at) = (result, Some(now()));
            (said.outputs, said.over) = (outputs, true);
        }
        self.report.shared.changed.notify_all();
        // A reporter that panicked has said so.
        let _ = self.thread.join();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            self.warn("ReportLog", self.send_log(false));
            self.warn("ReportState", self.send_state(false));
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(said, EVERY, |said| !said.over);
            if waited.unwrap_or_else(PoisonError::into_inner).0.over {
                return self.last_words();
            }
        }
    }

    fn warn(&self, what: &str, sent: Result<(), String>) {
        if let Err(error) = sent
            && self.warns
        {
            log::line(Level::Warning, &format!("{what} error: {error}"), &[("task_id", &self.task)]);
        }
    }

    fn last_words(&self) {
        for attempt in 1..=ATTEMPTS {
            match self.send_log(true).and_then(|()| self.send_state(true)) {
                Err(_) if attempt < ATTEMPTS => std::thread::sleep(FIRST_WAIT * 2_u32.pow(attempt - 1)),
                sent => return self.warn("ReportClose", sent),
            }
        }
    }

    fn send_log(&self, last: bool) -> Result<(), String> {
        loop {
            let (index, rows, all) = {
                let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                let rows = said.rows[..said.rows.len().min(ROWS)].to_vec();
                let all = rows.len() == said.rows.len();
                if said.closed {
                    return Ok(());
                }
                (said.first, rows, all)
            };
            let had = self.client.update_log(&self.task, index, &rows, last && all)?;
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.closed = last && all;
            let taken = had.saturating_sub(said.first).min(rows.len());
            said.rows.drain(..taken);
            said.first += taken;
            if all || taken == 0 {
                return if taken < rows.len() {
                    Err("the server did not take the rows".to_owned())
                } else {
                    Ok(())
                };
            }
        }
    }

    /// With a result an ephemeral runner is forgotten, so that comes last.
    fn send_state(&self, last: bool) -> Result<(), String> {
        let (mut state, outputs) = {
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            (said.state.clone(), said.outputs.clone())
        };
        if !last {
            (state.result, state.stopped_at) = (Verdict::Unspecified, None);
        }
        if self.client.update_task(&state, &outputs)? == Verdict::Cancelled && !last {
            self.said.lock().unwrap_or_else(PoisonError::into_inner).cancelled = true;
        }
        Ok(())
    }
}
