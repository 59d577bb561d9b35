//! What is wrong with the pools' runners at the forge, for people.

use std::collections::BTreeMap;
use std::sync::Mutex;

use fireactions_model::PoolName;

use super::{HostedForge, lock};

/// What a problem is with. Each is found and found mended in its own place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    /// Listening to the forge.
    Listening,
    /// What of a pool is declared at the forge (GitHub's scale set), against the configuration.
    ScaleSet,
    /// Asking for jobs and runners that no signal told of.
    Audit,
    /// Registering a runner.
    Registering,
    /// Letting runners go that no job needs.
    Surplus,
    /// What runners are, against the configuration.
    Runners,
    /// What their group takes, against the jobs that wait.
    Group,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Problems(Mutex<BTreeMap<(PoolName, Concern), String>>);

impl HostedForge {
    /// What is wrong with a pool's runners at the forge, for people.
    pub fn problem(&self, pool: &PoolName) -> Option<String> {
        let problems = lock(&self.inner.problems.0);
        let mine = problems.iter().filter(|((of, _), _)| of == pool).map(|(_, text)| text.as_str());
        let all: Vec<&str> = mine.collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// What is wrong; nothing when it is well again.
    pub(crate) fn set_problem(&self, pool: &PoolName, concern: Concern, problem: Option<String>) {
        let mut problems = lock(&self.inner.problems.0);
        let key = (pool.clone(), concern);
        match problem {
            Some(text) => {
                if problems.get(&key) != Some(&text) {
                    tracing::error!(%pool, "{text}");
                }
                problems.insert(key, text);
            }
            None => {
                if let Some(text) = problems.remove(&key) {
                    tracing::info!(%pool, "problem solved: {text}");
                }
            }
        }
    }
}
