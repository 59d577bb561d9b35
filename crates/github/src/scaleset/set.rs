//! Scale sets, and the runners that are made for them.

use std::fmt;

use fireactions_model::Secret;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ScaleSets;
use super::message::{Statistics, or_default};
use super::service::{failure, is};
use crate::{Deleted, Error, RunnerId};

/// Where the service has sets.
pub(super) const SETS: &str = "_apis/runtime/runnerscalesets";
const AGENTS: &str = "_apis/distributedtask/pools/0/agents";

/// A scale set's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct ScaleSetId(u64);

impl ScaleSetId {
    /// The set of this number.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Display for ScaleSetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a scale set is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleSetSpec {
    /// Its name, unique in its group.
    pub name: String,
    /// Its runner group's number.
    pub group_id: u64,
    /// What jobs ask for it by; its name is usual.
    pub labels: Vec<String>,
    /// Its runners do not update themselves: an image has a version, and its builder decides which.
    pub disable_update: bool,
}

/// A scale set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleSet {
    /// Its number.
    pub id: ScaleSetId,
    /// Its name.
    pub name: String,
    /// Its runner group's number.
    pub group_id: u64,
    /// What jobs ask for it by.
    pub labels: Vec<String>,
    /// Whether its runners are kept from updating themselves.
    pub disable_update: bool,
    /// How it stands.
    pub statistics: Statistics,
}

/// A runner of a scale set that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleSetJit {
    /// Its number.
    pub runner_id: RunnerId,
    /// Its name.
    pub name: String,
    /// What the runner application starts with, for one job.
    pub config: Secret,
}

#[derive(Deserialize)]
struct Wire {
    id: ScaleSetId,
    name: String,
    #[serde(default, rename = "runnerGroupId", deserialize_with = "or_default")]
    group_id: u64,
    #[serde(default, deserialize_with = "or_default")]
    labels: Vec<Label>,
    #[serde(default, rename = "RunnerSetting", alias = "runnerSetting", deserialize_with = "or_default")]
    setting: Setting,
    #[serde(default)]
    statistics: Value,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

#[derive(Deserialize, Default)]
struct Setting {
    #[serde(default, rename = "disableUpdate", deserialize_with = "or_default")]
    disable_update: bool,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct List<T> {
    // A list without anything may lack it.
    #[serde(default = "Vec::new", deserialize_with = "or_default")]
    value: Vec<T>,
}

impl From<Wire> for ScaleSet {
    fn from(wire: Wire) -> Self {
        Self {
            id: wire.id,
            name: wire.name,
            group_id: wire.group_id,
            labels: wire.labels.into_iter().map(|label| label.name).collect(),
            disable_update: wire.setting.disable_update,
            statistics: Statistics::read(&wire.statistics, Statistics::default()),
        }
    }
}

impl ScaleSetSpec {
    fn body(&self) -> Value {
        let labels: Vec<_> = self.labels.iter().map(|name| json!({"name": name, "type": "System"})).collect();
        json!({
            "name": self.name,
            "runnerGroupId": self.group_id,
            "labels": labels,
            "RunnerSetting": {"disableUpdate": self.disable_update},
        })
    }

    fn is_met_by(&self, set: &ScaleSet) -> bool {
        let lower = |labels: &[String]| {
            let mut all: Vec<String> = labels.iter().map(|label| label.to_lowercase()).collect();
            all.sort();
            all
        };
        set.group_id == self.group_id
            && set.disable_update == self.disable_update
            && lower(&set.labels) == lower(&self.labels)
    }
}

impl ScaleSets {
    fn doing(&self, what: &str) -> String {
        format!("{what} of {}", self.service.scope)
    }

    /// The set of this name in this group.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn find(&self, group_id: u64, name: &str) -> Result<Option<ScaleSet>, Error> {
        let doing = self.doing(&format!("look up scale set '{name}'"));
        let group = group_id.to_string();
        let query = [("runnerGroupId", group.as_str()), ("name", name)];
        let response = self.service.call(doing, Method::GET, SETS, &query, None).await?;
        if response.status != StatusCode::OK {
            return Err(failure(&response));
        }
        let list: List<Wire> = response.json("a list of scale sets")?;
        Ok(list.value.into_iter().map(ScaleSet::from).find(|set| set.name.eq_ignore_ascii_case(name)))
    }

    /// Makes the set, or adopts the one of its name and changes what differs.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn ensure(&self, spec: &ScaleSetSpec) -> Result<ScaleSet, Error> {
        let (method, path) = match self.find(spec.group_id, &spec.name).await? {
            Some(set) if spec.is_met_by(&set) => return Ok(set),
            Some(set) => (Method::PATCH, format!("{SETS}/{}", set.id)),
            None => (Method::POST, SETS.to_owned()),
        };
        let doing = self.doing(&format!("set up scale set '{}'", spec.name));
        let response = self.service.call(doing, method, &path, &[], Some(spec.body())).await?;
        if !response.status.is_success() {
            return Err(failure(&response));
        }
        Ok(response.json::<Wire>("a scale set")?.into())
    }

    /// Deletes a set; one that is not there is deleted.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn delete(&self, id: ScaleSetId) -> Result<(), Error> {
        let doing = self.doing(&format!("delete scale set {id}"));
        let response = self.service.call(doing, Method::DELETE, &format!("{SETS}/{id}"), &[], None).await?;
        match response.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Ok(()),
            _ => Err(failure(&response)),
        }
    }

    /// Makes a runner for the set: its configuration is good for one job.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`]: there is a runner of this name.
    pub async fn generate_jit(
        &self,
        id: ScaleSetId,
        name: &str,
        work_folder: &str,
    ) -> Result<ScaleSetJit, Error> {
        #[derive(Deserialize)]
        struct Body {
            runner: Agent,
            #[serde(rename = "encodedJITConfig")]
            config: String,
        }
        let doing = self.doing(&format!("register runner '{name}'"));
        let path = format!("{SETS}/{id}/generatejitconfig");
        let body = json!({"name": name, "workFolder": work_folder});
        let response = self.service.call(doing, Method::POST, &path, &[], Some(body)).await?;
        if is(&response, "AgentExists") {
            return Err(Error::NameTaken { name: name.to_owned() });
        }
        if !response.status.is_success() {
            return Err(failure(&response));
        }
        let body: Body = response.json("a runner's configuration")?;
        let config = Secret::new(body.config);
        Ok(ScaleSetJit { runner_id: RunnerId::new(body.runner.id), name: body.runner.name, config })
    }

    /// The number of the runner of this name.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn runner(&self, name: &str) -> Result<Option<RunnerId>, Error> {
        let doing = self.doing(&format!("look up runner '{name}'"));
        let response = self.service.call(doing, Method::GET, AGENTS, &[("agentName", name)], None).await?;
        if response.status != StatusCode::OK {
            return Err(failure(&response));
        }
        let list: List<Agent> = response.json("a list of runners")?;
        Ok(list.value.into_iter().find(|agent| agent.name == name).map(|agent| RunnerId::new(agent.id)))
    }

    /// Deletes a runner, if it has no job.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn delete_runner(&self, id: RunnerId) -> Result<Deleted, Error> {
        let doing = self.doing(&format!("delete runner {id}"));
        let response = self.service.call(doing, Method::DELETE, &format!("{AGENTS}/{id}"), &[], None).await?;
        if response.status.is_success() || is(&response, "AgentNotFound") {
            return Ok(Deleted::Gone);
        }
        if is(&response, "JobStillRunning") {
            return Ok(Deleted::Busy);
        }
        Err(failure(&response))
    }
}

#[derive(Deserialize)]
struct Agent {
    id: u64,
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_what_is_not_there() {
        let text = r#"{"value":[{"id":7,"name":"fast","labels":null,"RunnerSetting":null,"runnerGroupId":null,
            "statistics":{"totalIdleRunners":null}}]}"#;
        let list: List<Wire> = serde_json::from_str(text).unwrap();
        let set = ScaleSet::from(list.value.into_iter().next().unwrap());
        assert_eq!((set.id, set.labels.len(), set.statistics), (ScaleSetId(7), 0, Statistics::default()));
        let none: List<Wire> = serde_json::from_str(r#"{"value":null}"#).unwrap();
        assert!(none.value.is_empty());
    }
}
