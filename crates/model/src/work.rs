//! What a ready machine is given to do, and what comes back.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Autopsy, JobId, PhaseTimes, Program};

/// A text that must never be printed or logged. It is not `Serialize`: whoever writes it down has to mean it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a file is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkSource {
    /// A file on the host, readable by the server.
    Host(PathBuf),
    /// This text. It never is on the host's disk; for the guest's, name a path in a memory file system, such as `/run`.
    Secret(Secret),
}

/// A file to put into the guest before the work starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkFile {
    /// What is in it.
    pub source: WorkSource,
    /// Absolute guest path; missing parents are made.
    pub dest: String,
    /// As [`InputFile::mode`](crate::InputFile::mode), e.g. 0o644.
    pub mode: u32,
}

/// A guest file or directory to bring out after the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Absolute guest path.
    pub path: String,
    /// Host file that receives it as a tar archive.
    pub dest: PathBuf,
}

/// One machine's work: a job of the local forge, or a forge's runner with its one-job credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The job that it is accounted to.
    pub job: JobId,
    /// What to start.
    pub program: Program,
    /// Environment, over the image's own.
    pub env: Vec<(String, String)>,
    /// More environment, kept out of every log (e.g. a JIT config).
    pub secret_env: Vec<(String, Secret)>,
    /// A runner's one-job credential for images that read it from the VMM's metadata service, where there is one.
    pub metadata_credential: Option<Secret>,
    /// A guest that ends by itself, restarted or powered off, has done this work: a service of its image ends it so.
    pub ends_with_guest: bool,
    /// User as in an OCI config (`name`, `uid`, `uid:gid`); the image's own when absent.
    pub user: Option<String>,
    /// Where neither names one, whoever owns the first of these files that the image has; some are below the working directory.
    pub owner_of: Vec<String>,
    /// Working directory; the image's own when absent.
    pub workdir: Option<String>,
    /// Killed after this.
    pub timeout: Duration,
    /// Put in before the start.
    pub files: Vec<WorkFile>,
    /// Brought out at the end.
    pub artifacts: Vec<Artifact>,
}

/// Which of a program's two outputs a chunk is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a program's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How many bytes of output of this attempt, of both streams together, came before it. Told again after a
    /// restart, a piece is known by it.
    pub offset: u64,
    /// Where it was written.
    pub stream: Stream,
    /// Raw bytes, at most 64 KiB.
    pub data: Vec<u8>,
}

/// How work ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// The program returned.
    Exited {
        /// Its exit code; 0 = success.
        code: i32,
    },
    /// A signal ended the program.
    Signalled {
        /// Signal number.
        signal: i32,
    },
    /// It was killed at its deadline.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
    /// The machine was lost under it; the forge may try again.
    Lost {
        /// What happened, for people.
        reason: String,
    },
    /// The work could not be started (no such program or user, a file in the way). Not retried: it would fail again.
    Unstartable {
        /// What happened, for people.
        reason: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exit code {code}"),
            Self::Signalled { signal } => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("killed at its deadline"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Lost { reason } => write!(f, "lost: {reason}"),
            Self::Unstartable { reason } => write!(f, "could not be started: {reason}"),
        }
    }
}

/// What a program used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Usage {
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Peak resident memory, KiB.
    pub max_rss_kib: u64,
    /// Processes of the job that the guest kernel killed for memory.
    pub oom_kills: u32,
}

/// How a note about an artifact begins; other notes of a [`Report`] may explain how the work ended.
pub const ARTIFACT_NOTE: &str = "artifact ";

/// The end of work, as the machine tells the forge. Serialised in the machine's journal until the forge has heard it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used, where known.
    pub usage: Usage,
    /// Times of the machine's phases so far.
    pub phases: PhaseTimes,
    /// Things that people should know but that do not change the outcome ("artifact /x: no such file").
    pub notes: Vec<String>,
    /// What was known of a machine that was lost.
    pub autopsy: Option<Autopsy>,
}

impl Report {
    /// Of work whose machine was lost under it.
    pub fn lost(reason: String, phases: PhaseTimes, autopsy: Autopsy) -> Self {
        Self {
            outcome: Outcome::Lost { reason },
            usage: Usage::default(),
            phases,
            notes: Vec::new(),
            autopsy: Some(autopsy),
        }
    }
}
