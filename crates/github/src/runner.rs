//! Self-hosted runners, as GitHub lists them.

use fireactions_model::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::RunnerId;

/// A runner.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Runner {
    /// Its number.
    pub id: RunnerId,
    /// Its name, unique in its scope.
    pub name: String,
    /// Whether it is connected.
    #[serde(rename = "status", deserialize_with = "is_online")]
    pub online: bool,
    /// Whether it has a job.
    pub busy: bool,
    /// Its labels, those that GitHub adds among them.
    #[serde(default, deserialize_with = "names")]
    pub labels: Vec<String>,
    /// Whether it takes one job only; not every GitHub says so.
    #[serde(default)]
    pub ephemeral: Option<bool>,
    /// Its runner group.
    #[serde(default, rename = "runner_group_id")]
    pub group: Option<u64>,
}

fn is_online<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(String::deserialize(deserializer)? == "online")
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct Label {
        name: String,
    }
    Ok(Vec::<Label>::deserialize(deserializer)?.into_iter().map(|label| label.name).collect())
}

/// A runner group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunnerGroup {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whether runners without a group get into it.
    pub default: bool,
    /// Whose jobs it takes: `all` repositories, `selected` or `private` ones.
    #[serde(default)]
    visibility: Option<String>,
    #[serde(default)]
    allows_public_repositories: Option<bool>,
}

impl RunnerGroup {
    /// Whether it takes jobs of repositories only that were selected for it.
    pub fn is_selective(&self) -> bool {
        self.visibility.as_deref() == Some("selected")
    }

    /// Whether it takes jobs of public repositories; not every GitHub says.
    pub fn takes_public(&self) -> bool {
        self.visibility.as_deref() != Some("private") && self.allows_public_repositories != Some(false)
    }
}

/// What a just-in-time runner is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JitRequest {
    /// Its name, unique in its scope.
    pub name: String,
    /// Its runner group; 1 in a repository.
    pub group: u64,
    /// Its labels, 1 to 100.
    pub labels: Vec<String>,
    /// Where it works, relative to the runner's directory.
    pub work_folder: String,
}

/// A just-in-time runner. GitHub knows it already, and forgets it if it is not used soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jit {
    /// As GitHub lists it.
    pub runner: Runner,
    /// What the runner application starts with; it takes one job and is worth nothing afterwards.
    pub config: Secret,
}

/// What registers runners until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationToken {
    /// The token.
    pub token: Secret,
    /// An hour from when it was made.
    pub expires_at: Timestamp,
}

/// What became of a runner that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, now or before.
    Gone,
    /// It has a job, and stays.
    Busy,
}
