//! Registration: just-in-time configurations, and the groups that runners join.

use std::collections::HashMap;
use std::sync::Mutex;

use fireactions_github::JitRequest;
use fireactions_model::{GithubRunner, GithubScope, PoolSpec, RunnerGroup};

use super::rules::{IMPLIED, is_implied};
use super::{Error, GithubRemote, drift};
use crate::hosted::HostedForge;
use crate::hosted::lock;
use crate::hosted::problems::Concern;
use crate::hosted::remote::Registered;

/// GitHub's group of every organization that has made none.
const DEFAULT_GROUP: &str = "Default";
/// Its number, where groups cannot be asked for: repositories have that one alone.
const DEFAULT_GROUP_ID: u64 = 1;

/// Numbers of runner groups, by scope and name.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<HashMap<(GithubScope, String), u64>>);

/// All labels of a pool's runners. A runner that is registered like this has those that it is given and no other, not even
/// those that GitHub's own program gives to others.
pub(super) fn labels(pool: &PoolSpec) -> Vec<String> {
    let own = pool.labels.iter().map(ToString::to_string);
    let others = own.filter(|own| !is_implied(own));
    IMPLIED.iter().map(|implied| (*implied).to_owned()).chain(others).collect()
}

impl GithubRemote {
    /// Registers a runner of the pool, once.
    pub(super) async fn register_runner(
        &self,
        forge: &HostedForge,
        pool: &PoolSpec,
        runner: &GithubRunner,
        name: &str,
    ) -> Result<Registered, Error> {
        let registered = self.try_register(forge, pool, runner, name).await;
        if registered.as_ref().is_err_and(|error| !error.is_transient()) {
            // A group or a set that was made anew has another number.
            lock(&self.inner.groups.0).clear();
            lock(&self.inner.others).remove(&pool.name);
        }
        registered
    }

    async fn try_register(
        &self,
        forge: &HostedForge,
        pool: &PoolSpec,
        runner: &GithubRunner,
        name: &str,
    ) -> Result<Registered, Error> {
        if runner.scale_set.is_some() {
            let set = self.set_of(forge, &pool.name, runner).await?;
            let jit = set.sets.generate_jit(set.id, name, &runner.work_folder).await?;
            return Ok(Registered { id: jit.runner_id.get(), credential: jit.config });
        }
        let request = JitRequest {
            name: name.to_owned(),
            group: self.group(runner).await?,
            labels: labels(pool),
            work_folder: runner.work_folder.clone(),
        };
        let jit = self.inner.github.generate_jit(&runner.scope, &request).await?;
        let drift = drift::of_runner(&request.labels, request.group, &jit.runner.labels, jit.runner.group);
        forge.set_problem(&pool.name, Concern::Runners, drift);
        Ok(Registered { id: jit.runner.id.get(), credential: jit.config })
    }

    /// The number of the group that the pool's runners belong to.
    pub(super) async fn group(&self, runner: &GithubRunner) -> Result<u64, Error> {
        let name = match &runner.group {
            RunnerGroup::Id(id) => return Ok(*id),
            RunnerGroup::Default if matches!(runner.scope, GithubScope::Repository { .. }) => {
                return Ok(DEFAULT_GROUP_ID);
            }
            RunnerGroup::Default => None,
            RunnerGroup::Name(name) => Some(name.as_str()),
        };
        let key = (runner.scope.clone(), name.unwrap_or(DEFAULT_GROUP).to_owned());
        if let Some(id) = lock(&self.inner.groups.0).get(&key) {
            return Ok(*id);
        }
        let groups = self.inner.github.runner_groups(&runner.scope).await?;
        let found = groups.iter().find(|group| match name {
            None => group.default,
            Some(name) => group.name == name,
        });
        let Some(group) = found else {
            let known: Vec<&str> = groups.iter().take(20).map(|group| group.name.as_str()).collect();
            return Err(Error::NoGroup { scope: runner.scope.clone(), name: key.1, known: known.join(", ") });
        };
        lock(&self.inner.groups.0).insert(key, group.id);
        Ok(group.id)
    }
}
