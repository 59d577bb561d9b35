//! Runners and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::accounts::ScopeId;
use super::jobs::JobId;
use super::lists::Past;

/// Labels that are not somebody's own. A runner that is minted has them only where it is minted with them.
pub(in super::super) const READ_ONLY: [&str; 3] = ["self-hosted", "Linux", "X64"];

pub(in super::super) fn is_read_only(label: &str) -> bool {
    READ_ONLY.iter().any(|known| known.eq_ignore_ascii_case(label))
}

/// A runner, as a test looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The labels it was minted with.
    pub labels: Vec<String>,
    /// Its group.
    pub group: u64,
    /// The scale set that it belongs to.
    pub scale_set: Option<u64>,
    /// Whether it is connected.
    pub online: bool,
    /// The job that it was given.
    pub job: Option<JobId>,
    /// What became of it; nothing while it is in the list.
    pub fate: Option<RunnerFate>,
}

/// How a runner left the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerFate {
    /// It ran its job.
    Done,
    /// A client deleted it.
    Deleted,
    /// The test deleted it by hand.
    DeletedByHand,
    /// It never came online in time.
    Expired,
    /// It stopped answering while it had a job.
    Lost,
}

#[derive(Debug)]
pub(in super::super) struct Entry {
    pub(in super::super) public: Runner,
    pub(in super::super) scope: ScopeId,
    pub(in super::super) token: String,
    /// The whole credential, encoded.
    pub(in super::super) config: String,
    /// Of the process that used the credential.
    pub(in super::super) used_by: Option<String>,
    pub(in super::super) minted: Instant,
    pub(in super::super) heard: Instant,
    pub(in super::super) past: Past<Runner>,
}

#[derive(Debug)]
pub(in super::super) struct Runners {
    pub(in super::super) entries: BTreeMap<u64, Entry>,
    pub(in super::super) deprecated: bool,
    /// How long an unused credential is good for.
    pub(in super::super) unused_for: Duration,
    /// How long a runner with a job may be silent.
    pub(in super::super) silent_for: Duration,
    /// How long a runner without one may be silent and still count as connected.
    pub(in super::super) connected_for: Duration,
}

impl Default for Runners {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            deprecated: false,
            unused_for: Duration::from_secs(300),
            silent_for: Duration::from_secs(600),
            connected_for: Duration::from_secs(10),
        }
    }
}

impl Entry {
    /// Whether it has every one of these labels, whatever their case.
    pub(in super::super) fn has(&self, labels: &[String]) -> bool {
        let own: BTreeSet<String> = self.public.labels.iter().map(|label| label.to_lowercase()).collect();
        labels.iter().all(|label| own.contains(&label.to_lowercase()))
    }

    pub(in super::super) fn is_listed(&self) -> bool {
        self.public.fate.is_none()
    }

    pub(in super::super) fn is_idle(&self) -> bool {
        self.is_listed() && self.public.online && self.public.job.is_none()
    }
}

impl Runner {
    /// As the REST API has it.
    pub(in super::super) fn object(&self) -> Value {
        let runner = self;
        let kind = |label: &String| if is_read_only(label) { "read-only" } else { "custom" };
        let labels: Vec<Value> = runner
            .labels
            .iter()
            .enumerate()
            .map(|(at, name)| json!({"id": at + 1, "name": name, "type": kind(name)}))
            .collect();
        json!({
            "id": runner.id,
            "name": runner.name,
            "os": "linux",
            "status": if runner.online { "online" } else { "offline" },
            "busy": runner.job.is_some(),
            "labels": labels,
            "runner_group_id": runner.group,
            "ephemeral": true,
        })
    }
}

impl Runners {
    /// Those of a scope as its list shows them, oldest first.
    pub(in super::super) fn shown(&self, scope: ScopeId, behind: Duration) -> impl Iterator<Item = &Runner> {
        let of = self.entries.values().filter(move |entry| entry.scope == scope);
        of.filter_map(move |entry| entry.past.shown(behind)).filter(|runner| runner.fate.is_none())
    }

    /// Those of a scope, oldest first.
    pub(in super::super) fn of(&self, scope: ScopeId) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| entry.scope == scope && entry.is_listed())
    }

    pub(in super::super) fn named(&self, scope: ScopeId, name: &str) -> Option<&Entry> {
        self.of(scope).find(|entry| entry.public.name == name)
    }

    pub(in super::super) fn by_token(&mut self, token: &str) -> Option<&mut Entry> {
        self.entries.values_mut().find(|entry| entry.token == token)
    }
}
