//! Which jobs a pool's runners are given, by the rules of Gitea and Forgejo.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fireactions_gitea::{Kind, matches};
use fireactions_model::{GiteaScope, PoolSpec};

use crate::hosted::board::{Counting, Rules, Wants};

/// The rules of one server.
pub(super) struct GiteaRules {
    kind: Kind,
    /// Nothing tells of jobs at this server: it is too old for a list of them, and there is no webhook.
    blind: AtomicBool,
}

impl GiteaRules {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, blind: AtomicBool::new(false) }
    }

    /// Whether anything tells of jobs. Gives whether that is news.
    pub(super) fn set_blind(&self, blind: bool) -> bool {
        self.blind.swap(blind, Ordering::Relaxed) != blind
    }
}

impl Rules for GiteaRules {
    fn fits(&self, pool: &PoolSpec, wants: &Wants<'_>) -> bool {
        let Some(runner) = pool.gitea() else { return false };
        covers(&runner.scope, wants) && matches(self.kind, wants.labels, &runner.labels)
    }

    fn counting(&self, pool: &PoolSpec) -> Counting {
        match pool.gitea().and_then(|runner| runner.standing) {
            Some(ready) => Counting::Standing(ready),
            None if self.blind.load(Ordering::Relaxed) => Counting::Standing(pool.min_runners.max(1)),
            None => Counting::Placed,
        }
    }

    /// Their lists are read from the database that everything is written to.
    fn behind(&self) -> Duration {
        Duration::ZERO
    }
}

/// Whether runners of this scope are given the job: it was listed there, or its repository is of it.
pub(super) fn covers(scope: &GiteaScope, wants: &Wants<'_>) -> bool {
    if wants.scope.parse::<GiteaScope>().is_ok_and(|listed| listed == *scope) {
        return true;
    }
    let Some((owner, name)) = wants.repository.split_once('/') else { return false };
    match scope {
        GiteaScope::Instance => true,
        // Whose token it is, the list alone knows.
        GiteaScope::User => false,
        GiteaScope::Organization(organization) => organization.eq_ignore_ascii_case(owner),
        GiteaScope::Repository { owner: its_owner, name: its_name } => {
            its_owner.eq_ignore_ascii_case(owner) && its_name.eq_ignore_ascii_case(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use fireactions_model::{ForgeName, ForgeRunner, GiteaRunner, RemoteJob};
    use fireactions_testkit::pools;
    use jiff::Timestamp;

    use super::*;
    use crate::hosted::board::Waiting;

    fn pool(scope: &str, labels: &[&str]) -> PoolSpec {
        let labels = labels.iter().map(ToString::to_string).collect();
        let runner = ForgeRunner::Gitea(GiteaRunner { labels, ..GiteaRunner::new(scope.parse().unwrap()) });
        pools::of_forge("p", ForgeName::new("work").unwrap(), runner)
    }

    fn job(scope: &str, repository: &str, labels: &[&str]) -> Waiting {
        Waiting {
            id: 1,
            repository: repository.to_owned(),
            labels: labels.iter().map(ToString::to_string).collect(),
            queued_at: None,
            tries: 0,
            remote: RemoteJob::new(ForgeName::new("work").unwrap(), scope),
            heard: Instant::now(),
            told: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn case_and_scope_count_and_a_job_without_labels_is_for_all_at_gitea_alone() {
        let (gitea, forgejo) = (GiteaRules::new(Kind::Gitea), GiteaRules::new(Kind::Forgejo));
        let org = pool("orgs/acme", &["Debian:host", "gpu"]);
        assert!(gitea.fits(&org, &job("orgs/acme", "", &["Debian"]).wants()), "it was listed there");
        assert!(gitea.fits(&org, &job("instance", "Acme/app", &["gpu", "Debian"]).wants()));
        assert!(!gitea.fits(&org, &job("orgs/acme", "acme/app", &["debian"]).wants()));
        assert!(!gitea.fits(&org, &job("orgs/other", "other/app", &["gpu"]).wants()));
        assert!(
            gitea.fits(&pool("repos/acme/App", &["gpu"]), &job("orgs/acme", "acme/app", &["gpu"]).wants())
        );
        assert!(!gitea.fits(&pool("user", &["gpu"]), &job("orgs/acme", "acme/app", &["gpu"]).wants()));
        let plain = job("orgs/acme", "acme/app", &[]);
        assert!(gitea.fits(&org, &plain.wants()) && !forgejo.fits(&org, &plain.wants()));
    }

    #[test]
    fn where_nothing_tells_of_jobs_runners_wait() {
        let rules = GiteaRules::new(Kind::Gitea);
        let pool = pool("orgs/acme", &["gpu"]);
        assert_eq!(rules.counting(&pool), Counting::Placed);
        assert!(rules.set_blind(true) && !rules.set_blind(true));
        assert_eq!(rules.counting(&pool), Counting::Standing(1));
    }
}
