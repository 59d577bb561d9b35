//! The one job of a machine, played statement by statement.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use fireactions_guest_proto::guest::Session;
use fireactions_guest_proto::{Exit, JobResult, Stream};

use crate::script::Step;

/// A job that plays.
pub(crate) struct Job {
    steps: VecDeque<Step>,
    began: Instant,
    pause: Pause,
    stubborn: bool,
    asked: bool,
}

#[derive(Clone, Copy)]
enum Pause {
    None,
    Until(Instant),
    /// For `tell`.
    Told,
    /// For a signal.
    Signal,
}

/// Where a job stands after it was played as far as it goes.
pub(crate) enum Standing {
    /// It goes on at this moment; `None`: when something happens to it.
    Pauses(Option<Instant>),
    /// It has ended.
    Ended(JobResult),
    /// The guest is to panic.
    Dies,
    /// The agent is to fall silent. The job hangs.
    Mute,
    /// No file is to be handed out from now on. The job goes on.
    Withholds,
}

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

impl Job {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self { steps: steps.into(), began: Instant::now(), pause: Pause::None, stubborn: false, asked: false }
    }

    /// How it ends at once, if it is not even to begin.
    pub(crate) fn unstartable(&self) -> Option<JobResult> {
        match self.steps.front() {
            Some(Step::Unstartable(why)) => Some(self.result(Exit::Unstartable(why.clone()))),
            _ => None,
        }
    }

    /// Somebody ran `tell`.
    pub(crate) fn told(&mut self) {
        if matches!(self.pause, Pause::Told) {
            self.pause = Pause::None;
        }
    }

    /// Takes a signal; one that ends it replaces the rest of the script.
    pub(crate) fn signal(&mut self, signal: i32) {
        self.asked = true;
        if signal == SIGKILL || (signal == SIGTERM && !self.stubborn) {
            self.steps = [Step::Signal(signal)].into();
            self.pause = Pause::None;
        }
    }

    /// Plays as far as it goes. Output waits where nobody takes it away, as a real job's does.
    pub(crate) fn play(&mut self, session: &Session) -> Standing {
        loop {
            match self.pause {
                Pause::Until(then) if then > Instant::now() => return Standing::Pauses(Some(then)),
                Pause::Told | Pause::Signal => return Standing::Pauses(None),
                Pause::None | Pause::Until(_) => self.pause = Pause::None,
            }
            match self.steps.pop_front() {
                Some(Step::Print(text)) => write(session, Stream::Stdout, &(text + "\n")),
                Some(Step::PrintErr(text)) => write(session, Stream::Stderr, &(text + "\n")),
                Some(Step::PrintBytes(count)) => print_bytes(session, count),
                Some(Step::PrintLines(count)) => print_lines(session, count),
                Some(Step::Sleep(time)) => self.pause = Pause::Until(Instant::now() + time),
                Some(Step::Wait) => self.pause = Pause::Told,
                Some(Step::Hang) => self.pause = Pause::Signal,
                Some(Step::Stubborn) => self.stubborn = true,
                Some(Step::Tell) => {}
                Some(Step::Withhold) => return Standing::Withholds,
                Some(Step::Exit(code)) => return Standing::Ended(self.result(Exit::Code(code & 0xff))),
                Some(Step::Signal(signal)) => return Standing::Ended(self.result(Exit::Signal(signal))),
                Some(Step::Unstartable(why)) => return Standing::Ended(self.result(Exit::Unstartable(why))),
                Some(Step::Die) => return Standing::Dies,
                Some(Step::Mute) => {
                    self.pause = Pause::Signal;
                    return Standing::Mute;
                }
                None => return Standing::Ended(self.result(Exit::Code(0))),
            }
        }
    }

    fn result(&self, exit: Exit) -> JobResult {
        let ran = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Made-up, but always above zero, so that a server that drops them is found out.
        JobResult {
            user_us: ran / 2 + 1,
            system_us: ran / 4 + 1,
            max_rss_kib: 1024,
            ran_us: ran,
            asked: self.asked,
            ..JobResult::new(exit)
        }
    }
}

fn write(session: &Session, stream: Stream, text: &str) {
    // Fails only once the job has ended, and then nobody wants it.
    let _ = session.job_output(stream).write_all(text.as_bytes());
}

fn print_bytes(session: &Session, count: usize) {
    let mut line = [b'.'; 64];
    line[63] = b'\n';
    let mut left = count;
    while left > 0 {
        let take = left.min(line.len());
        if session.job_output(Stream::Stdout).write_all(&line[line.len() - take..]).is_err() {
            return;
        }
        left -= take;
    }
}

fn print_lines(session: &Session, count: usize) {
    for number in 1..=count {
        let line = format!("line {number:>9} {:.>48}\n", "");
        if session.job_output(Stream::Stdout).write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// How long until then.
pub(crate) fn left(then: Instant) -> Duration {
    then.saturating_duration_since(Instant::now())
}
