//! Sticky directories: the volumes of this host, and whose jobs may write them by their forge's word.

use fireactions_config::Config;
use fireactions_model::{MachineId, Origin, PoolSpec};
use fireactions_store::Store;
use fireactions_volumes::{Limits, Volumes, Writer};

use super::build::StateDirs;
use super::words::is_of_branch;

/// The volumes, and who has which machine.
#[derive(Debug, Clone)]
pub(super) struct Sticky {
    volumes: Volumes,
    store: Store,
}

impl Sticky {
    /// Opens the volumes. Those that cannot be opened are told of in the log, and each machine begins anew.
    pub(super) async fn open(config: &Config, dirs: &StateDirs, store: &Store) -> Option<Self> {
        let own = &config.sticky;
        let mib = |value: u64| value.saturating_mul(1 << 20);
        let limits =
            Limits { total: mib(own.max_size_mib), free: mib(own.keep_free_mib), idle: own.unused_for.0 };
        let root = dirs.sticky.clone();
        let opened = tokio::task::spawn_blocking(move || Volumes::open(&root, limits)).await;
        let why = match opened {
            Ok(Ok(volumes)) => return Some(Self { volumes, store: store.clone() }),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!("what sticky directories keep cannot be opened, and each machine begins anew: {why}");
        None
    }

    /// What machines are given, and to be cleaned up.
    pub(super) fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// What pool a machine is of, if that has sticky directories.
    async fn pool(&self, machine: &MachineId) -> Option<PoolSpec> {
        let row = self.store.machine(machine).await.ok().flatten()?;
        row.spec.filter(|spec| !spec.sticky.is_empty())
    }

    /// A machine's job begins.
    pub(super) async fn admit(&self, machine: &MachineId) {
        if self.pool(machine).await.is_some() {
            self.volumes.words().expect(machine);
        }
    }

    /// The forge has said whose the machine's job is.
    pub(super) async fn confirm(&self, machine: &MachineId, origin: &Origin) {
        let Some(pool) = self.pool(machine).await else { return };
        let writer = writer(&pool, origin);
        let (volumes, owner, number) = (self.volumes.clone(), pool.sticky_owner(), origin.repository_id);
        let had_others =
            tokio::task::spawn_blocking(move || owner.is_some_and(|owner| volumes.disown(&owner, number)));
        // What it began with was left by another repository of the same name, which is gone.
        let is_clean = matches!(had_others.await, Ok(false));
        tracing::debug!(%machine, repository = origin.repository, keeps = writer.is_some() && is_clean, "whose job it is, is known");
        self.volumes.words().tell(machine, writer.filter(|_| is_clean));
    }

    /// The machine's job is over.
    pub(super) fn end(&self, machine: &MachineId) {
        self.volumes.words().end(machine);
    }
}

/// In whose name a job of the pool writes that was caused so, if it may: by a branch's own doing, in the pool's repository.
fn writer(pool: &PoolSpec, origin: &Origin) -> Option<Writer> {
    let of_it = format!("{}/{}", origin.forge, origin.repository.to_lowercase());
    let reference = origin.reference.as_deref().unwrap_or_default();
    (pool.sticky_owner() == Some(of_it) && is_of_branch(&origin.event, reference))
        .then(|| Writer { job: format!("{} {reference}", origin.event), owner: origin.repository_id })
}

#[cfg(test)]
mod tests {
    use fireactions_model::{
        ForgeName, ForgeRunner, GiteaRunner, GiteaScope, ImageRef, PoolForge, PoolName, Shape,
    };

    use super::*;

    #[test]
    fn only_a_branch_of_the_pool_s_own_repository_writes() {
        let image = ImageRef::new("debian:12").unwrap();
        let shape = Shape { image, vcpus: 1, memory_mib: 64, disk_mib: 64 };
        let runner = ForgeRunner::Gitea(GiteaRunner::new(GiteaScope::repository("acme", "app").unwrap()));
        let pool = PoolSpec {
            forge: Some(PoolForge { name: ForgeName::new("work").unwrap(), runner }),
            ..PoolSpec::new(PoolName::new("p").unwrap(), shape)
        };
        let may = |forge: &str, repository: &str, event: &str, reference: Option<&str>| {
            let origin = Origin {
                forge: ForgeName::new(forge).unwrap(),
                repository: repository.to_owned(),
                repository_id: 7,
                default_branch: "main".to_owned(),
                event: event.to_owned(),
                reference: reference.map(str::to_owned),
            };
            writer(&pool, &origin)
        };
        let main = Some("refs/heads/main");
        let job = "push refs/heads/main".to_owned();
        assert_eq!(may("work", "Acme/App", "push", main), Some(Writer { job, owner: 7 }));
        assert!(may("work", "acme/app", "schedule", Some("refs/heads/topic")).is_some());
        for (forge, repository, event, reference) in [
            ("other", "acme/app", "push", main),
            ("work", "mallory/app", "push", main),
            // A fork's pull request, in the three forms in which forges tell one.
            ("work", "acme/app", "pull_request", Some("refs/pull/7/merge")),
            ("work", "acme/app", "pull_request", Some("refs/pull/7/head")),
            ("work", "acme/app", "pull_request_target", main),
            ("work", "acme/app", "push", Some("refs/pull/7/head")),
            ("work", "acme/app", "issue_comment", main),
            ("work", "acme/app", "push", None),
            ("work", "acme/app", "push", Some("main")),
        ] {
            assert_eq!(
                may(forge, repository, event, reference),
                None,
                "{forge} {repository} {event} {reference:?}"
            );
        }
    }
}
