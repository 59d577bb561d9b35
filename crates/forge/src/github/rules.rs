//! Which jobs a pool's runners are given, by GitHub's rules of labels, scopes and runner groups.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use fireactions_github::Repository;
use fireactions_model::{GithubScope, Label, PoolName, PoolSpec};

use crate::hosted::board::{Counting, Rules, Wants};
use crate::hosted::lock;

/// Labels that every runner of ours has without the configuration saying so, as GitHub has them for runners by what they run
/// on.
pub(super) const IMPLIED: [&str; 3] = ["self-hosted", "Linux", ARCHITECTURE];

/// What GitHub's lists may be behind what its webhook says.
const BEHIND: Duration = Duration::from_secs(15);

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" };

/// Whether a label is one of [`IMPLIED`].
pub(super) fn is_implied(label: &str) -> bool {
    IMPLIED.iter().any(|implied| implied.eq_ignore_ascii_case(label))
}

/// The repositories whose jobs a runner group takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// Those that were selected for it; all, when none were.
    pub(super) only: Option<HashSet<Repository>>,
    /// Not these: they are public, and it takes no jobs of public ones.
    pub(super) not: HashSet<Repository>,
}

impl Served {
    fn has(&self, repository: &str) -> bool {
        let Ok(repository) = repository.parse::<Repository>() else { return false };
        let selected = self.only.as_ref().is_none_or(|only| only.contains(&repository));
        selected && !self.not.contains(&repository)
    }
}

/// The rules, with what is known of the pools' runner groups.
#[derive(Default)]
pub(super) struct GithubRules {
    /// Whose jobs each pool's runner group takes; everybody's, where that is not known.
    served: Mutex<HashMap<PoolName, Served>>,
}

impl GithubRules {
    /// Whose jobs a pool's runner group takes.
    pub(super) fn set_served(&self, pool: &PoolName, served: Served) {
        lock(&self.served).insert(pool.clone(), served);
    }

    /// Of these pools those that such a job would be for, but for their runner group, which does not take jobs of this
    /// repository.
    pub(super) fn kept_from<'a>(
        &self,
        pools: &'a [PoolSpec],
        repository: &str,
        labels: &[String],
    ) -> Vec<&'a PoolName> {
        let kept = |pool: &&PoolSpec| {
            pool.scale_set().is_none()
                && labels_fit(pool, repository, labels)
                && !self.is_served(pool, repository)
        };
        pools.iter().filter(kept).map(|pool| &pool.name).collect()
    }

    fn is_served(&self, pool: &PoolSpec, repository: &str) -> bool {
        lock(&self.served).get(&pool.name).is_none_or(|served| served.has(repository))
    }
}

impl Rules for GithubRules {
    fn fits(&self, pool: &PoolSpec, wants: &Wants<'_>) -> bool {
        labels_fit(pool, wants.repository, wants.labels) && self.is_served(pool, wants.repository)
    }

    fn behind(&self) -> Duration {
        BEHIND
    }

    fn counting(&self, pool: &PoolSpec) -> Counting {
        if pool.scale_set().is_some() { Counting::Assigned } else { Counting::Placed }
    }
}

/// Whether a job of this repository with these labels could be for the pool's runners, whatever their group takes.
fn labels_fit(pool: &PoolSpec, repository: &str, labels: &[String]) -> bool {
    let Some(runner) = pool.github() else { return false };
    let has = |label: &String| {
        is_implied(label) || Label::new(label).is_ok_and(|label| pool.labels.contains(&label))
    };
    // A job that asks for no label at all is not for self-hosted runners.
    covers(&runner.scope, repository) && !labels.is_empty() && labels.iter().all(has)
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use fireactions_model::{ForgeName, ForgeRunner, GithubRunner, ImageRef, PoolForge, RemoteJob, Shape};
    use jiff::Timestamp;

    use super::*;
    use crate::hosted::board::Waiting;

    fn pool(name: &str, labels: &[&str], set: Option<&str>) -> PoolSpec {
        let image = ImageRef::new("debian:12").unwrap();
        let shape = Shape { image, vcpus: 1, memory_mib: 256, disk_mib: 512 };
        let runner = GithubRunner::new(GithubScope::organization("acme").unwrap());
        let runner = ForgeRunner::Github(GithubRunner { scale_set: set.map(str::to_owned), ..runner });
        PoolSpec {
            labels: labels.iter().map(|label| Label::new(label).unwrap()).collect(),
            forge: Some(PoolForge { name: ForgeName::github(), runner }),
            ..PoolSpec::new(PoolName::new(name).unwrap(), shape)
        }
    }

    fn waiting(repository: &str, labels: &[String]) -> Waiting {
        Waiting {
            id: 1,
            repository: repository.to_owned(),
            labels: labels.to_vec(),
            queued_at: None,
            tries: 0,
            remote: RemoteJob::new(ForgeName::github(), "acme"),
            heard: Instant::now(),
            told: Timestamp::UNIX_EPOCH,
        }
    }

    fn list(labels: &[&str]) -> Vec<String> {
        labels.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn labels_have_no_case_and_some_go_without_saying() {
        let rules = GithubRules::default();
        let fits = |repository, labels: &[&str]| {
            rules.fits(&pool("p", &["debian"], None), &waiting(repository, &list(labels)).wants())
        };
        assert!(fits("Acme/Widgets", &["self-hosted"]) && fits("acme/x", &["Linux", "DEBIAN"]));
        assert!(!fits("acme/x", &["gpu"]));
        assert!(!fits("other/widgets", &["debian"]), "another organization");
        assert!(!fits("acme/x", &["ubuntu-latest"]) && !fits("acme/x", &["debian", "windows"]));
        assert!(!fits("acme/x", &[]));
        assert_eq!(rules.counting(&pool("s", &["debian"], Some("fast"))), Counting::Assigned);
    }

    #[test]
    fn jobs_that_a_pools_group_does_not_take_are_not_its_jobs() {
        let rules = GithubRules::default();
        let pools = [pool("p", &["debian"], None), pool("s", &["debian"], Some("s"))];
        let labels = list(&["debian"]);
        let repository = |name: &str| name.parse::<Repository>().unwrap();
        let fits = |name: &str| rules.fits(&pools[0], &waiting(name, &labels).wants());
        let kept = |name: &str, labels: &[String]| {
            rules.kept_from(&pools, name, labels).into_iter().cloned().collect::<Vec<_>>()
        };
        assert!(fits("acme/widgets"), "what it takes is not known");
        let only = Some([repository("Acme/Other")].into());
        rules.set_served(&pools[0].name, Served { only, ..Served::default() });
        assert!(fits("acme/other") && !fits("acme/widgets"));
        assert_eq!(kept("acme/widgets", &labels), [pools[0].name.clone()]);
        assert_eq!(kept("acme/other", &labels), []);
        assert_eq!(kept("acme/widgets", &list(&["windows"])), [], "its labels keep it");
        let not = [repository("acme/widgets")].into();
        rules.set_served(&pools[0].name, Served { not, ..Served::default() });
        assert!(fits("acme/other") && !fits("acme/widgets"));
        rules.set_served(&pools[0].name, Served::default());
        assert!(fits("acme/widgets"));
    }
}
