//! Which pool is to serve which waiting job, by GitHub's rules of labels.

use std::collections::{HashMap, HashSet};

use fireactions_github::Repository;
use fireactions_model::{GithubScope, Label, PoolName, PoolSpec};

use super::queue::Waiting;

/// Labels that every runner of ours has without the configuration saying so, as GitHub has them for runners by what they run
/// on.
pub(in crate::github) const IMPLIED: [&str; 3] = ["self-hosted", "Linux", ARCHITECTURE];

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" };

/// Whether a label is one of [`IMPLIED`].
pub(in crate::github) fn is_implied(label: &str) -> bool {
    IMPLIED.iter().any(|implied| implied.eq_ignore_ascii_case(label))
}

/// The repositories whose jobs a runner group takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::github) struct Served {
    /// Those that were selected for it; all, when none were.
    pub(in crate::github) only: Option<HashSet<Repository>>,
    /// Not these: they are public, and it takes no jobs of public ones.
    pub(in crate::github) not: HashSet<Repository>,
}

impl Served {
    fn has(&self, repository: &str) -> bool {
        let Ok(repository) = repository.parse::<Repository>() else { return false };
        let selected = self.only.as_ref().is_none_or(|only| only.contains(&repository));
        selected && !self.not.contains(&repository)
    }
}

/// Places each job in the smallest pool that has all its labels: of those the one with the fewest labels, the first
/// configured among equals. A pool whose runners are all at work hands on to the next that will do; where all are, the
/// job waits for the smallest. `fits` says whether a pool's runners would be given a job, `room` for how many more jobs a pool
/// has runners or may have some.
pub(super) fn place<'a>(
    pools: &[PoolSpec],
    waiting: impl Iterator<Item = &'a Waiting>,
    fits: impl Fn(&PoolSpec, &Waiting) -> bool,
    room: impl Fn(&PoolSpec) -> u32,
) -> HashMap<PoolName, Vec<u64>> {
    let mut candidates: Vec<&PoolSpec> =
        pools.iter().filter(|pool| !super::has_set(pool) && pool.max_runners > 0).collect();
    candidates.sort_by_key(|pool| pool.labels.len());
    let mut room: HashMap<&PoolName, u32> = candidates.iter().map(|pool| (&pool.name, room(pool))).collect();
    let mut placed: HashMap<PoolName, Vec<u64>> = HashMap::new();
    for job in waiting {
        let fitting = || candidates.iter().filter(|pool| fits(pool, job));
        let has_room = |pool: &&&PoolSpec| room.get(&pool.name).is_some_and(|left| *left > 0);
        let Some(pool) = fitting().find(has_room).or_else(|| fitting().next()) else { continue };
        if let Some(left) = room.get_mut(&pool.name) {
            *left = left.saturating_sub(1);
        }
        placed.entry(pool.name.clone()).or_default().push(job.id);
    }
    placed
}

/// Whether a runner of the pool, which has no scale set, would be given a job of this repository with these labels. What its
/// group serves may not be known.
pub(super) fn fits(pool: &PoolSpec, served: Option<&Served>, repository: &str, labels: &[String]) -> bool {
    let Some(runner) = &pool.github else { return false };
    let has = |label: &String| {
        is_implied(label) || Label::new(label).is_ok_and(|label| pool.labels.contains(&label))
    };
    // A job that asks for no label at all is not for self-hosted runners.
    covers(&runner.scope, repository)
        && served.is_none_or(|served| served.has(repository))
        && !labels.is_empty()
        && labels.iter().all(has)
}

/// Whether runners of this scope serve the repository. An enterprise's are checked by GitHub alone: which
/// organizations belong to it is not known here.
fn covers(scope: &GithubScope, repository: &str) -> bool {
    let (owner, name) = repository.split_once('/').unwrap_or((repository, ""));
    match scope {
        GithubScope::Organization(organization) => organization.eq_ignore_ascii_case(owner),
        GithubScope::Repository { owner: its_owner, name: its_name } => {
            its_owner.eq_ignore_ascii_case(owner) && its_name.eq_ignore_ascii_case(name)
        }
        GithubScope::Enterprise(_) => true,
    }
}
