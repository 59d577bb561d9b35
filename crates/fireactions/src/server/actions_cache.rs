//! The host's cache of jobs: at the guests' gateway, for machines whose job a forge vouches for. Jobs run without it, too.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use fireactions_api::Peer;
use fireactions_cache::{Cache, Grant, Limits, Options, Repository, S3, router};
use fireactions_config::{ActionsCacheS3Config, Config};
use fireactions_model::{MachineId, Origin, Secret};
use fireactions_net::Network;
use fireactions_store::Store;
use tokio_util::sync::CancellationToken;

use super::forges::ca_pem;
use super::words::is_of_branch;
use crate::credentials;

/// Between two looks for what is too old or too much.
const SWEEP: Duration = Duration::from_secs(60);
/// Hosts that share a bucket do not look at the same time, for all that they started together.
const SPREAD: Duration = Duration::from_secs(10);
/// The bucket is looked at each so many times.
const TENDED: u32 = 5;

/// The cache, and where machines are.
#[derive(Clone)]
pub(super) struct ActionsCache {
    cache: Cache,
    store: Store,
    network: Network,
}

impl ActionsCache {
    /// Opens the configured cache. One that cannot be opened is told of in the log, and jobs do without.
    pub(super) async fn open(config: &Config, store: &Store, network: &Network) -> Option<Self> {
        let own = &config.actions_cache;
        if !own.enabled {
            return None;
        }
        let root = own.directory(&config.state_dir);
        let options = Options {
            limits: limits(config),
            ..Options::new(&root, &format!("http://{}:{}", config.network.gateway(), own.port))
        };
        let s3 = own.s3.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let bucket = s3.map(|s3| bucket(&s3)).transpose()?;
            if let Some(parent) = root.parent() {
                // Its own directory it makes itself, for root alone.
                std::fs::create_dir_all(parent)?;
            }
            anyhow::Ok(Cache::open(Options { bucket, ..options })?)
        });
        let why = match opened.await {
            Ok(Ok(cache)) => {
                return Some(Self { cache, store: store.clone(), network: network.clone() });
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(error) => error.to_string(),
        };
        tracing::error!("the cache of actions cannot be opened, and jobs run without it: {why}");
        None
    }

    /// Numbers, entries, and how to clean up.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What its listener serves.
    pub(super) fn router(&self) -> Router {
        router(self.cache.clone()).layer(middleware::from_fn(with_address))
    }

    /// Keeps its limits until `stopping`.
    pub(super) async fn keep(self, stopping: CancellationToken) {
        for turn in (0..TENDED).cycle() {
            if turn == 0 && stopping.run_until_cancelled(self.tend()).await.is_none() {
                return;
            }
            let cache = self.cache.clone();
            let _ = tokio::task::spawn_blocking(move || cache.sweep()).await;
            let pause = SWEEP + SPREAD.mul_f64(rand::random());
            if stopping.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// That a bucket does not answer is in the log already.
    async fn tend(&self) {
        if let Err(error) = self.cache.tend().await {
            tracing::debug!(%error, "the bucket of the cache of actions is looked at later");
        }
    }

    /// Where a machine's packets come from.
    async fn address(&self, machine: &MachineId) -> Option<IpAddr> {
        let row = self.store.machine(machine).await.ok().flatten()?;
        self.network.address(row.slot).map(IpAddr::V4)
    }
}

/// As forges use it.
impl ActionsCache {
    /// Lets a machine's job in; where it finds the cache.
    pub(super) async fn admit(&self, machine: &MachineId) -> Option<Secret> {
        let Some(address) = self.address(machine).await else {
            tracing::warn!(%machine, "the machine's job gets no cache: its address is not known");
            return None;
        };
        let _token = self.cache.expect(machine, address);
        Some(self.cache.url(machine))
    }

    /// Whether it is not known yet whose job the machine has.
    pub(super) fn is_open(&self, machine: &MachineId) -> bool {
        self.cache.is_open(machine)
    }

    /// It is known.
    pub(super) async fn confirm(&self, machine: &MachineId, origin: &Origin) {
        let Some(address) = self.address(machine).await else { return };
        let grant = grant(machine, origin).from(address);
        tracing::debug!(%machine, repository = grant.repository.0, saves = ?grant.writes, "whose job it is, is known");
        self.cache.confirm(machine, grant);
    }

    /// The machine's job is over.
    pub(super) async fn end(&self, machine: &MachineId) {
        let (cache, machine) = (self.cache.clone(), machine.clone());
        let _ = tokio::task::spawn_blocking(move || cache.end(&machine)).await;
    }
}

fn bucket(own: &ActionsCacheS3Config) -> anyhow::Result<S3> {
    const KEY: &str = "actions_cache.s3";
    let file = &own.secret_access_key_file;
    let secret = file.read(credentials::directory_of(file).as_deref());
    Ok(S3 {
        bucket: own.bucket.clone(),
        endpoint: own.endpoint.as_ref().map(ToString::to_string),
        region: own.region.clone(),
        prefix: own.prefix.clone(),
        access_key_id: own.access_key_id.clone(),
        secret_access_key: secret.with_context(|| format!("{KEY}.secret_access_key_file"))?,
        ca: ca_pem(own.ca_file.as_ref(), KEY)?,
        virtual_hosted: !own.path_style,
    })
}

fn limits(config: &Config) -> Limits {
    let own = &config.actions_cache;
    let mib = |value: u64| value.saturating_mul(1 << 20);
    Limits {
        entry: mib(own.max_repository_mib),
        repository: mib(own.max_repository_mib),
        total: mib(own.max_size_mib),
        free: mib(own.keep_free_mib),
        idle: own.unused_for.0,
        ..Limits::default()
    }
}

/// The cache knows callers by their address, which whoever took the connection knows.
async fn with_address(mut request: Request, next: Next) -> axum::response::Response {
    if let Some(Peer::Remote(address)) = request.extensions().get::<Peer>().copied() {
        request.extensions_mut().insert(ConnectInfo(address));
    }
    next.run(request).await
}

/// What a job may do that was caused so. What is neither a branch's nor a pull request's, or is not told whole, saves for itself.
fn grant(machine: &MachineId, origin: &Origin) -> Grant {
    let Origin { forge, repository, repository_id, default_branch, event, reference } = origin;
    // By its number, too: a repository that is removed leaves nothing to the next one of its name.
    let repository = Repository(format!("{forge}/{repository}#{repository_id}"));
    let default = format!("refs/heads/{default_branch}");
    let reference = reference.as_deref().unwrap_or_default();
    // GitHub's run for the merge, a Forgejo's for the head.
    let of_pull = |rest: &str| rest.strip_suffix("/merge").or(rest.strip_suffix("/head"))?.parse().ok();
    let pull = reference.strip_prefix("refs/pull/").and_then(of_pull);
    match pull {
        Some(number) if event == "pull_request" => Grant::pull_request(repository, number, None, &default),
        None if is_of_branch(event, reference) => Grant::branch(repository, reference, &default),
        _ => Grant::reader(repository, machine, &default),
    }
}

#[cfg(test)]
mod tests {
    use fireactions_cache::Scope;
    use fireactions_model::ForgeName;

    use super::*;

    fn granted(event: &str, reference: Option<&str>) -> (Vec<String>, String) {
        let origin = Origin {
            forge: ForgeName::new("gitea").unwrap(),
            repository: "acme/app".to_owned(),
            repository_id: 7,
            default_branch: "main".to_owned(),
            event: event.to_owned(),
            reference: reference.map(str::to_owned),
        };
        let grant = grant(&MachineId::from_random([1; 8]), &origin);
        assert_eq!(grant.repository.0, "gitea/acme/app#7");
        let Scope(writes) = grant.writes.unwrap();
        let own = writes.starts_with("machine/");
        (grant.reads.into_iter().map(|scope| scope.0).collect(), if own { "alone".into() } else { writes })
    }

    #[test]
    fn who_caused_a_job_decides_where_it_saves() {
        const MAIN: &str = "refs/heads/main";
        let (reads, writes) = granted("push", Some("refs/heads/topic"));
        assert_eq!(
            (reads.as_slice(), writes.as_str()),
            (&["refs/heads/topic".to_owned(), MAIN.into()][..], "refs/heads/topic")
        );
        assert_eq!(granted("push", Some(MAIN)), (vec![MAIN.into()], MAIN.into()));
        assert_eq!(granted("schedule", Some(MAIN)).1, MAIN);
        assert_eq!(granted("push", Some("refs/tags/main")).1, "refs/tags/main");
        for reference in ["refs/pull/7/head", "refs/pull/7/merge"] {
            let (reads, writes) = granted("pull_request", Some(reference));
            assert_eq!(
                (reads.as_slice(), writes.as_str()),
                (&["refs/pull/7/merge".to_owned(), MAIN.into()][..], "refs/pull/7/merge")
            );
        }
        // A pull request's job that runs for the target, a comment's, one whose ref is not told, or a ref out of place.
        for (event, reference) in [
            ("pull_request_target", Some(MAIN)),
            ("pull_request_target", Some("refs/pull/7/head")),
            ("pull_request", Some("refs/pull/7/ci.yml@refs/pull/8/head")),
            ("pull_request", Some("refs/pull/7/x/head")),
            ("issue_comment", Some(MAIN)),
            ("push", None),
            ("push", Some("main")),
            ("push", Some("refs/pull/7/head")),
            ("pull_request", Some("refs/pull/x/head")),
            ("", Some("")),
        ] {
            let (reads, writes) = granted(event, reference);
            assert_eq!(
                (reads.len(), reads[1].as_str(), writes.as_str()),
                (2, MAIN, "alone"),
                "{event} {reference:?}"
            );
        }
    }
}
