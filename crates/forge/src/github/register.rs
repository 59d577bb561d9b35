//! Registration: a row with a name becomes a runner with a credential.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use fireactions_github::{Deleted, Error as GithubError, JitRequest, RunnerId};
use fireactions_model::{
    ExponentialBackoff, ForgeError, GithubRunner, GithubScope, JobRecord, MachineId, Offer, PoolSpec,
    RemoteJob, RunnerGroup, Secret,
};
use tokio::time::{Instant, sleep};

use super::board::{IMPLIED, is_implied};
use super::problems::Concern;
use super::{Error, GithubForge, drift, lock};
use crate::refusal::forge_error;

/// For all tries at one runner. Its machine is given up then; the job waits at GitHub and gets another.
const DEADLINE: Duration = Duration::from_secs(300);
/// First and longest pause between two tries, in quarters of [`pace`](super::GithubSettings::pace); before what GitHub itself
/// asks for.
const PAUSES: (u32, u32) = (1, 80);
/// Tries at a name that is taken by what an earlier try left, with the pauses between them: GitHub's list of runners, where its
/// number is found, may be seconds behind.
const TAKEN: u32 = 8;
/// GitHub's group of every organization that has made none.
const DEFAULT_GROUP: &str = "Default";
/// Its number, where groups cannot be asked for: repositories have that one alone.
const DEFAULT_GROUP_ID: u64 = 1;

/// Numbers of runner groups, by scope and name.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<HashMap<(GithubScope, String), u64>>);

/// What GitHub gave.
struct Registered {
    id: RunnerId,
    credential: Secret,
}

/// Six characters that no other host has, it is to be hoped.
pub(super) fn fresh_key() -> String {
    // The id's alphabet is readable, and its letter is cut.
    MachineId::from_random(rand::random()).as_str()[1..7].to_owned()
}

/// The name of a machine's runner: at most 64 characters, as GitHub wants it (the prefix is checked with the configuration).
pub(super) fn name(prefix: &str, key: &str, machine: &MachineId) -> String {
    format!("{prefix}-{key}-{machine}")
}

/// The machine of a runner of this name, if the name is one that a server with this key gives.
pub(super) fn machine_of(name: &str, key: &str) -> Option<MachineId> {
    let (rest, machine) = name.rsplit_once('-')?;
    let (_, its_key) = rest.rsplit_once('-')?;
    (its_key == key).then(|| MachineId::new(machine).ok()).flatten()
}

/// All labels of a pool's runners. A runner that is registered like this has those that it is given and no other, not even
/// those that GitHub's own program gives to others.
pub(super) fn labels(pool: &PoolSpec) -> Vec<String> {
    let own = pool.labels.iter().map(ToString::to_string);
    let others = own.filter(|own| !is_implied(own));
    IMPLIED.iter().map(|implied| (*implied).to_owned()).chain(others).collect()
}

impl GithubForge {
    /// Registers the machine's runner, with patience, and keeps its credential until the program runs.
    pub(super) async fn register(
        &self,
        offer: &Offer,
        runner: &GithubRunner,
        record: &JobRecord,
    ) -> Result<Secret, ForgeError> {
        let remote = record.remote.clone().unwrap_or_default();
        let name = remote.runner.clone().unwrap_or_default();
        let pool = &offer.pool.name;
        let end = Instant::now() + DEADLINE;
        let quarter = self.inner.settings.pace / 4;
        let mut pauses = ExponentialBackoff::new(quarter * PAUSES.0, quarter * PAUSES.1);
        let mut taken = 0;
        let registered = loop {
            let error = match self.try_register(offer, runner, &name).await {
                Ok(registered) => break registered,
                Err(error) => error,
            };
            if matches!(error, Error::Github(GithubError::NameTaken { .. })) && taken < TAKEN {
                // An earlier try was cut off between GitHub's answer and our disk: nobody has that credential.
                taken += 1;
                match self.delete_named(runner, &name).await {
                    Ok(true) => continue,
                    Ok(false) => tracing::debug!(%name, "a runner that is in the way is not listed yet"),
                    Err(error) => {
                        tracing::debug!(%name, %error, "a runner that is in the way could not be removed");
                    }
                }
                sleep(pauses.failed(rand::random())).await;
                continue;
            }
            let text = format!("no runner could be registered: {error}");
            self.set_problem(pool, Concern::Registering, Some(text.clone()));
            if !error.is_transient() {
                // A group that was made anew has another number.
                lock(&self.inner.groups.0).clear();
                return Err(ForgeError::Refused(text));
            }
            let wait = pauses.failed(rand::random()).max(error.retry_after().unwrap_or_default());
            if Instant::now() + wait >= end {
                return Err(ForgeError::Unavailable { message: text, retry_after: error.retry_after() });
            }
            sleep(wait).await;
        };
        let remote = RemoteJob { runner_id: Some(registered.id.get()), ..remote };
        let store = &self.inner.store;
        store
            .set_credential(&record.id, &remote, registered.credential.clone())
            .await
            .map_err(forge_error)?;
        self.inner.counts.registered();
        self.set_problem(pool, Concern::Registering, None);
        Ok(registered.credential)
    }

    async fn try_register(
        &self,
        offer: &Offer,
        runner: &GithubRunner,
        name: &str,
    ) -> Result<Registered, Error> {
        if runner.scale_set.is_some() {
            let set = self.open_set(&offer.pool.name)?;
            let jit = set.sets.generate_jit(set.id, name, &runner.work_folder).await?;
            return Ok(Registered { id: jit.runner_id, credential: jit.config });
        }
        let request = JitRequest {
            name: name.to_owned(),
            group: self.group(runner).await?,
            labels: labels(&offer.pool),
            work_folder: runner.work_folder.clone(),
        };
        let jit = self.inner.github.generate_jit(&runner.scope, &request).await?;
        let drift = drift::of_runner(&request.labels, request.group, &jit.runner);
        self.set_problem(&offer.pool.name, Concern::Runners, drift);
        Ok(Registered { id: jit.runner.id, credential: jit.config })
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

    /// Removes the runner of this name, if GitHub lists it and it has no job. Gives whether it is gone.
    async fn delete_named(&self, runner: &GithubRunner, name: &str) -> Result<bool, Error> {
        let runners = self.inner.github.runners(&runner.scope).await?;
        let Some(found) = runners.iter().find(|found| found.name == name) else { return Ok(false) };
        Ok(self.inner.github.delete_runner(&runner.scope, found.id).await? == Deleted::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is() {
        let machine = MachineId::from_random([7; 8]);
        let key = fresh_key();
        assert_eq!(key.len(), 6);
        let name = name("ci-with-hyphens", &key, &machine);
        assert_eq!(machine_of(&name, &key), Some(machine.clone()));
        assert_eq!(machine_of(&name, "another"), None);
        for other in ["ci", "", "a-b-c", &format!("{key}-{machine}"), &format!("ci-{key}-m123")] {
            assert_eq!(machine_of(other, &key), None, "{other}");
        }
        assert!(super::name(&"p".repeat(45), &key, &machine).len() <= 64);
    }
}
