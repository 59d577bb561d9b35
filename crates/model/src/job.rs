//! Jobs: what a user submits, or a forge's runner is to do, and how it stands.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Autopsy, ImageRef, InputFile, JobId, Label, MachineId, Outcome, PhaseTimes, PoolName, RemoteJob, Usage,
    WaitReason,
};

/// What to start in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// Arguments appended to the image's entrypoint, as `docker run IMAGE ARGS` does; if empty, the image's own
    /// command.
    Image {
        /// Arguments.
        args: Vec<String>,
    },
    /// A program and its arguments; the image's entrypoint is not used.
    Command {
        /// Program (looked up in `PATH`) and arguments; not empty.
        argv: Vec<String>,
    },
    /// Text run by `/bin/sh -e`.
    Script {
        /// The text.
        text: String,
    },
}

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// A name for people; need not be unique.
    #[serde(default)]
    pub name: Option<String>,
    /// Root image; by default the pool's.
    #[serde(default)]
    pub image: Option<ImageRef>,
    /// What to start.
    pub program: Program,
    /// Environment variables, in addition to the image's.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// A pool that has all of these serves it.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// By default the pool's.
    #[serde(default)]
    pub vcpus: Option<u8>,
    /// By default the pool's.
    #[serde(default)]
    pub memory_mib: Option<u32>,
    /// By default the pool's.
    #[serde(default)]
    pub disk_mib: Option<u32>,
    /// The job is killed after this many seconds; by default the pool's job deadline.
    #[serde(default)]
    pub timeout_secs: Option<u64>,
    /// By default the image's.
    #[serde(default)]
    pub user: Option<String>,
    /// By default the image's.
    #[serde(default)]
    pub workdir: Option<String>,
    /// Files to copy in. Their bytes are uploaded with the job.
    #[serde(default)]
    pub files: Vec<InputFile>,
    /// Absolute guest paths to copy out, each as one tar archive.
    #[serde(default)]
    pub artifacts: Vec<String>,
}

/// The most of a job's program that an event tells, in bytes.
const EVENT_PROGRAM: usize = 1024;

impl JobSpec {
    /// A job that runs this and asks for nothing else.
    pub const fn new(program: Program) -> Self {
        Self {
            name: None,
            image: None,
            program,
            env: Vec::new(),
            labels: Vec::new(),
            vcpus: None,
            memory_mib: None,
            disk_mib: None,
            timeout_secs: None,
            user: None,
            workdir: None,
            files: Vec::new(),
            artifacts: Vec::new(),
        }
    }

    /// As events tell it: the first KiB of the program's text, and neither environment nor files. Events wait in memory for
    /// whoever listens slowly, and a job may be a megabyte.
    fn brief(&self) -> Self {
        let program = match &self.program {
            Program::Script { text } if text.len() > EVENT_PROGRAM => {
                let end = (0..=EVENT_PROGRAM).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                Program::Script { text: text[..end].to_owned() }
            }
            Program::Image { args } => Program::Image { args: first_of(args) },
            Program::Command { argv } => Program::Command { argv: first_of(argv) },
            short @ Program::Script { .. } => short.clone(),
        };
        Self {
            name: self.name.clone(),
            image: self.image.clone(),
            program,
            labels: self.labels.clone(),
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            env: Vec::new(),
            files: Vec::new(),
            artifacts: Vec::new(),
            ..*self
        }
    }

    /// Its own timeout, if it has one.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_secs.map(Duration::from_secs)
    }
}

/// The first arguments, a KiB of them.
fn first_of(arguments: &[String]) -> Vec<String> {
    let mut left = EVENT_PROGRAM;
    let fits = |argument: &&String| {
        left = left.saturating_sub(argument.len().max(1));
        left > 0
    };
    arguments.iter().take_while(fits).cloned().collect()
}

/// Where a job stands. `Lost` is final: its machine died and its attempts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a machine.
    Queued,
    /// A machine has it; its program does not run yet.
    Assigned,
    /// Its program runs.
    Running,
    /// Exit code 0.
    Succeeded,
    /// Another exit code, a signal, or it could not be started.
    Failed,
    /// Cancelled by a user.
    Cancelled,
    /// Killed at its deadline.
    TimedOut,
    /// Its machine died too often.
    Lost,
}

impl JobState {
    /// Those in which nothing more will happen to a job.
    pub const FINAL: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Cancelled, Self::TimedOut, Self::Lost];

    /// True when nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Lost)
    }

    /// The name used in JSON, tables and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How often a job is tried when its machine dies under it. A job that ends by itself, however badly, is
/// never run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Starts in all; 2 = one retry.
    pub attempts: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 2 }
    }
}

/// A job's current state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What was requested.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// The number of this attempt, from 1; 0 as long as it never had a machine.
    pub attempt: u32,
    /// The pool that had it last.
    pub pool: Option<PoolName>,
    /// The machine that has it, or had it last.
    pub machine: Option<MachineId>,
    /// A user cancelled it; the machine has not confirmed that yet.
    pub cancel_requested: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// One line for people: why it ended as it did, or why it was tried again.
    pub reason: Option<String>,
    /// What it waits for while it is queued, or while its result is not recorded, at the time of the request. Never
    /// stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitReason>,
    /// What was known about the last machine that was lost under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autopsy: Option<Autopsy>,
    /// The hosted forge's job behind it, and its runner; absent for a job of the built-in queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteJob>,
    /// What it used.
    pub usage: Usage,
    /// Times of the phases of its last attempt.
    #[cfg_attr(feature = "schema", schema(value_type = std::collections::BTreeMap<String, u64>))]
    pub phases: PhaseTimes,
    /// Notes of the machine ("artifact /x: no such file").
    pub notes: Vec<String>,
    /// When it was submitted (for a retry: queued again).
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub queued_at: Timestamp,
    /// When a machine took it.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub assigned_at: Option<Timestamp>,
    /// When its program started.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub started_at: Option<Timestamp>,
    /// When it became final.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
}

impl JobRecord {
    /// As events tell it: whole but for the long parts of what was asked for.
    #[must_use]
    pub fn brief(&self) -> Self {
        let spec = self.spec.brief();
        // Without a copy of the long parts on the way.
        Self {
            id: self.id.clone(),
            spec,
            pool: self.pool.clone(),
            machine: self.machine.clone(),
            outcome: self.outcome.clone(),
            reason: self.reason.clone(),
            waiting: self.waiting.clone(),
            autopsy: self.autopsy.clone(),
            remote: self.remote.clone(),
            phases: self.phases.clone(),
            notes: self.notes.clone(),
            ..*self
        }
    }

    /// The exit code that `fireactions run` ends with: the program's own; 128 + signal; 124 timed out;
    /// 130 cancelled; 125 lost or unstartable. Nothing while the job is not final.
    pub fn exit_code(&self) -> Option<i32> {
        if !self.state.is_final() {
            return None;
        }
        Some(match &self.outcome {
            Some(Outcome::Exited { code }) => *code,
            Some(Outcome::Signalled { signal }) => 128 + signal,
            Some(Outcome::TimedOut) => 124,
            Some(Outcome::Cancelled) => 130,
            Some(Outcome::Lost { .. } | Outcome::Unstartable { .. }) => 125,
            None => match self.state {
                JobState::Cancelled => 130,
                _ => 125,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_in_which_a_job_stays_are_named_whole() {
        let others = [JobState::Queued, JobState::Assigned, JobState::Running];
        assert!(JobState::FINAL.iter().all(|state| state.is_final()));
        assert!(!others.iter().any(|state| state.is_final()));
    }

    #[test]
    fn an_event_of_a_large_job_is_small() {
        let large = |program: serde_json::Value| -> JobSpec {
            let file = serde_json::json!({"dest": "x".repeat(4000), "mode": 420, "size": 1});
            serde_json::from_value(serde_json::json!({
                "program": program, "env": [["A", "x".repeat(100_000)]], "files": vec![file; 99], "labels": ["a"],
                "vcpus": 3, "timeout_secs": 7,
            }))
            .unwrap()
        };
        for program in [
            serde_json::json!({"script": {"text": "\u{e4}".repeat(500_000)}}),
            serde_json::json!({"command": {"argv": vec!["word"; 100_000]}}),
            serde_json::json!({"image": {"args": ["x".repeat(1_000_000)]}}),
        ] {
            let spec = large(program);
            let brief = spec.brief();
            assert!(serde_json::to_string(&brief).unwrap().len() < 4096);
            assert_eq!((&brief.labels, brief.vcpus, brief.timeout_secs), (&spec.labels, Some(3), Some(7)));
        }
        let small: JobSpec =
            serde_json::from_str(r#"{"program": {"command": {"argv": ["make", "test"]}}}"#).unwrap();
        assert_eq!(small.brief(), small);
    }
}
