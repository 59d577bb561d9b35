//! Sessions of hosts that share a scale set: one listens, and all make runners.

use std::collections::BTreeMap;

use fireactions_github::scaleset::{ScaleSetId, ScaleSets};
use fireactions_model::{GithubRunner, PoolName, PoolSpec};

use super::{Error, GithubRemote, OpenSet};
use crate::hosted::{HostedForge, lock};

impl GithubRemote {
    /// The scale set in which the pool's runners are to be registered.
    pub(super) async fn set_of(
        &self,
        forge: &HostedForge,
        pool: &PoolName,
        runner: &GithubRunner,
    ) -> Result<OpenSet, Error> {
        match self.open_set(pool) {
            // Another host listens, or is about to.
            Err(_) if forge.is_shared() => {}
            // Without a session nobody would hear of the runner's job.
            other => return other,
        }
        if let Some(known) = lock(&self.inner.others).get(pool) {
            return Ok(known.clone());
        }
        let sets = ScaleSets::new(&self.inner.github, runner.scope.clone());
        let name = runner.scale_set.as_deref().unwrap_or_default();
        let found = sets.find(self.group(runner).await?, name).await?.ok_or(Error::NoSession)?;
        let set = OpenSet { sets, id: found.id, session: None };
        lock(&self.inner.others).insert(pool.clone(), set.clone());
        Ok(set)
    }

    /// The sessions of this host, as [`free_sessions`](Self::free_sessions) reads them.
    pub(super) fn sessions(&self) -> BTreeMap<PoolName, String> {
        let sets = lock(&self.inner.sets);
        let held = |(pool, set): (&PoolName, &OpenSet)| {
            Some((pool.clone(), format!("{}/{}", set.id, set.session.as_deref()?)))
        };
        sets.iter().filter_map(held).collect()
    }

    /// Ends sessions of another host that listens no more. One that cannot be ended, GitHub ends once it has missed its host.
    pub(super) async fn free_sessions(&self, pools: &[PoolSpec], held: &BTreeMap<PoolName, String>) {
        for pool in pools {
            let Some((runner, held)) = pool.github().zip(held.get(&pool.name)) else { continue };
            let Some((set, session)) = read(held) else { continue };
            let sets = ScaleSets::new(&self.inner.github, runner.scope.clone());
            if let Err(error) = sets.end_session(set, session).await {
                tracing::warn!(pool = %pool.name, %error, "the session of the host that listened before could not be ended");
            }
        }
    }
}

fn read(held: &str) -> Option<(ScaleSetId, &str)> {
    let (set, session) = held.split_once('/')?;
    // It becomes part of a path.
    let plain = session.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    Some((ScaleSetId::new(set.parse().ok()?), session)).filter(|_| plain && !session.is_empty())
}
