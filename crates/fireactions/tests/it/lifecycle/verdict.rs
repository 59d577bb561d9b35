//! What must hold of a job when everything has settled.

use std::collections::BTreeSet;
use std::fmt;

use fireactions_model::{JobRecord, JobState, MachineId, Outcome};

use crate::lifecycle::play::Play;

/// What was done to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Its VMM got a SIGKILL.
    Killed,
    /// Its VMM got a SIGSTOP.
    Stopped,
    /// Its tap was deleted.
    TapRemoved,
    /// Its server was stopped with `shutdown.mode: kill`.
    ServerKilled,
}

/// One start of a job, from the store's table.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) machine: MachineId,
    /// None while it was never told.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) faults: BTreeSet<Fault>,
    /// Its output in the log.
    pub(crate) output: Vec<u8>,
}

/// A job with all that is known of it in the end.
#[derive(Debug)]
pub(crate) struct Story {
    /// The how-manieth job it was.
    pub(crate) number: usize,
    pub(crate) play: Play,
    /// Somebody cancelled it before it was final.
    pub(crate) cancelled: bool,
    pub(crate) record: JobRecord,
    pub(crate) attempts: Vec<Attempt>,
}

/// Starts in all, as the retry policy has it.
pub(crate) const ATTEMPTS: usize = 2;

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, play, cancelled, record, attempts } = self;
        write!(f, "job {number} ({}, {play:?})", record.id)?;
        if *cancelled {
            f.write_str(", cancelled")?;
        }
        write!(f, ": {}, {:?}, {:?}", record.state, record.outcome, record.reason)?;
        for Attempt { number, machine, outcome, faults, output } in attempts {
            write!(
                f,
                "\n  attempt {number} on {machine}, {faults:?}: {outcome:?}, {} bytes of output",
                output.len()
            )?;
        }
        Ok(())
    }
}

impl Story {
    /// Err: what is wrong, for people.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let record = &self.record;
        if !record.state.is_final() {
            return Err(format!("it is not final but {}", record.state));
        }
        if record.attempt as usize != self.attempts.len() || self.attempts.len() > ATTEMPTS {
            return Err(format!(
                "it counts {} attempts, {} are in the table",
                record.attempt,
                self.attempts.len()
            ));
        }
        for (attempt, expected) in self.attempts.iter().zip(1..) {
            if attempt.number != expected {
                return Err(format!("attempt {} is in the place of attempt {expected}", attempt.number));
            }
            self.judge_attempt(attempt, expected as usize == self.attempts.len())
                .map_err(|why| format!("attempt {expected}: {why}"))?;
        }
        self.judge_end()
    }

    fn judge_attempt(&self, attempt: &Attempt, last: bool) -> Result<(), String> {
        let Some(outcome) = &attempt.outcome else { return Err("it has no end".to_owned()) };
        let natural = self.play.ends_as(outcome);
        let fine = natural
            || match outcome {
                // A machine that nobody touched loses no job, whatever becomes of its server.
                Outcome::Lost { .. } => self.play.loses_its_machine() || !attempt.faults.is_empty(),
                Outcome::Cancelled => self.cancelled,
                // A stopped guest does not end in time.
                Outcome::TimedOut => attempt.faults.contains(&Fault::Stopped),
                _ => false,
            };
        if !fine {
            return Err(format!("it ended as {outcome:?}"));
        }
        if !last && !matches!(outcome, Outcome::Lost { .. }) {
            return Err(format!("another followed although it ended as {outcome:?}"));
        }
        let whole = self.play.output(self.number);
        let complete = natural && self.play.prints_whole();
        if !whole.starts_with(&attempt.output) || (complete && whole.len() != attempt.output.len()) {
            return Err(format!(
                "its output is not as it printed it: {} bytes of {}, {:?}",
                attempt.output.len(),
                whole.len(),
                String::from_utf8_lossy(&attempt.output).chars().take(200).collect::<String>()
            ));
        }
        Ok(())
    }

    /// The record agrees with its last attempt.
    fn judge_end(&self) -> Result<(), String> {
        let record = &self.record;
        let wanted = match self.attempts.last().and_then(|attempt| attempt.outcome.as_ref()) {
            None | Some(Outcome::Cancelled) => JobState::Cancelled,
            Some(Outcome::Lost { .. }) if self.cancelled => JobState::Cancelled,
            Some(Outcome::Lost { .. }) if self.attempts.len() < ATTEMPTS => {
                return Err("it was lost, and was not tried again".to_owned());
            }
            Some(Outcome::Lost { .. }) => JobState::Lost,
            Some(Outcome::Exited { code: 0 }) => JobState::Succeeded,
            Some(Outcome::Exited { .. } | Outcome::Signalled { .. } | Outcome::Unstartable { .. }) => {
                JobState::Failed
            }
            Some(Outcome::TimedOut) => JobState::TimedOut,
        };
        if record.state != wanted {
            return Err(format!("it is {}, and its last attempt says {wanted}", record.state));
        }
        if record.state == JobState::Cancelled && !self.cancelled {
            return Err("nobody cancelled it".to_owned());
        }
        if let (JobState::Failed | JobState::Succeeded, Some(last)) = (record.state, self.attempts.last())
            && record.outcome != last.outcome
        {
            return Err(format!(
                "its outcome is {:?}, its last attempt's {:?}",
                record.outcome, last.outcome
            ));
        }
        if record.state != JobState::Succeeded && record.reason.as_deref().unwrap_or_default().is_empty() {
            return Err("it does not say why it ended as it did".to_owned());
        }
        if record.state == JobState::Lost && record.autopsy.is_none() {
            return Err("nothing is known of the machine that was lost under it".to_owned());
        }
        Ok(())
    }
}
