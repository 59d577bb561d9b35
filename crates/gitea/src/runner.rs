//! Runners.

use fireactions_model::Secret;

use crate::RunnerId;

/// What a runner is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its name, for people: not unique.
    pub name: String,
    /// Its labels; what is after a `:` is left out. A Forgejo from 15 on hears of them only when the runner declares them.
    pub labels: Vec<String>,
    /// It gets one job and is then forgotten; not asked for where the server cannot ([`crate::Capabilities::ephemeral`]).
    pub ephemeral: bool,
    /// What people see as its version.
    pub version: String,
}

/// A runner that was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its number.
    pub id: RunnerId,
    /// What it names itself with at the server.
    pub uuid: String,
    /// What proves that. It takes jobs, and nothing else.
    pub token: Secret,
    /// Whether it gets one job only.
    pub ephemeral: bool,
}

/// A runner, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its number.
    pub id: RunnerId,
    /// What it names itself with; Gitea does not tell.
    pub uuid: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub status: RunnerStatus,
    /// Whether it has a job. It is so only some seconds after the runner took it.
    pub busy: bool,
    /// Whether it gets one job only.
    pub ephemeral: bool,
    /// The names of its labels; none before it declared them at a Forgejo.
    pub labels: Vec<String>,
}

/// Whether a runner is there, as the server sees it: it asked for work within the last minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunnerStatus {
    /// It has not asked for a while, or never.
    Offline,
    /// It is there and has no job.
    Idle,
    /// It is there and has a job.
    Active,
}
