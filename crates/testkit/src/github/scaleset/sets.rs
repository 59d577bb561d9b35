//! Scale sets and their sessions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::http::{Ask, Reply, random, uuid};

use super::super::FakeGithub;
use super::super::known::accounts::ScopeId;
use super::super::known::sets::{Session, Set, Statistics};
use super::super::state::State;
use super::reply::{PREFIX, failure, list};

impl State {
    fn set_object(&self, set: &Set) -> Value {
        let groups = self.accounts.groups(set.scope);
        let group = groups.into_iter().find(|known| known.id == set.group).map(|known| known.name);
        let labels: Vec<Value> =
            set.labels.iter().map(|name| json!({"name": name, "type": "System"})).collect();
        json!({
            "id": set.id,
            "name": set.name,
            "runnerGroupId": set.group,
            "runnerGroupName": group,
            "labels": labels,
            "RunnerSetting": {"disableUpdate": set.disable_update},
            "createdOn": set.created,
            "runnerJitConfigUrl": format!("{}{PREFIX}/_apis/runtime/runnerscalesets/{}/generatejitconfig", self.base, set.id),
            "statistics": self.statistics_object(set.id),
        })
    }

    pub(super) fn set_routes(&mut self, ask: &Ask, scope: ScopeId, rest: &[&str]) -> Result<Reply, Reply> {
        let method = ask.method.as_str();
        match (method, rest) {
            ("GET", []) => {
                let group =
                    |set: &Set| ask.param("runnerGroupId").is_none_or(|id| set.group.to_string() == id);
                let name = |set: &Set| ask.param("name").is_none_or(|name| set.name == name);
                let found =
                    self.sets.known.values().filter(|set| set.scope == scope && group(set) && name(set));
                return Ok(list(found.map(|set| self.set_object(set))));
            }
            ("POST", []) => return self.create_set(ask, scope),
            _ => {}
        }
        let id = rest[0].parse::<u64>().unwrap_or(0);
        if self.sets.known.get(&id).is_none_or(|set| set.scope != scope) {
            return Err(failure(404, "RunnerScaleSetNotFoundException", "no scale set of this id"));
        }
        match (method, &rest[1..]) {
            ("GET", []) => Ok(Reply::json(200, &self.set_object(&self.sets.known[&id]))),
            ("PATCH", []) => Ok(self.change_set(ask, id)),
            ("DELETE", []) => {
                self.sets.known.remove(&id);
                let jobs =
                    self.jobs.entries.values_mut().filter(|job| job.set.is_some_and(|way| way.set == id));
                jobs.for_each(|job| job.set = None);
                self.touch();
                Ok(Reply::empty(204))
            }
            ("POST", ["sessions"]) => self.open_session(ask, id),
            (_, ["sessions", session]) => self.session(method, id, session),
            ("POST", ["generatejitconfig"]) => self.set_jit(ask, id),
            _ => Err(failure(404, "VssResourceNotFoundException", "no such resource")),
        }
    }

    fn named_set(&self, scope: ScopeId, group: u64, name: &str) -> Option<u64> {
        let same =
            |set: &&Set| set.scope == scope && set.group == group && set.name.eq_ignore_ascii_case(name);
        self.sets.known.values().find(same).map(|set| set.id)
    }

    fn create_set(&mut self, ask: &Ask, scope: ScopeId) -> Result<Reply, Reply> {
        let body = ask.json().unwrap_or(Value::Null);
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        let group = body["runnerGroupId"].as_u64().unwrap_or(1);
        if name.is_empty() {
            return Err(failure(400, "ArgumentException", "a scale set needs a name"));
        }
        if !self.accounts.groups(scope).iter().any(|known| known.id == group) {
            return Err(failure(404, "RunnerGroupNotFoundException", "no runner group of this id"));
        }
        if self.named_set(scope, group, &name).is_some() {
            return Err(failure(409, "RunnerScaleSetExistsException", "a scale set of this name exists"));
        }
        let labels = labels(&body).unwrap_or_else(|| vec![name.clone()]);
        let id = self.id();
        let set = Set {
            id,
            scope,
            name,
            group,
            labels,
            disable_update: body["RunnerSetting"]["disableUpdate"].as_bool().unwrap_or(false),
            created: self.clock.stamp(),
            session: None,
            capacity: 0,
            events: Vec::new(),
            messages: BTreeMap::new(),
            last_message: 0,
            told: Statistics::default(),
        };
        self.sets.known.insert(id, set);
        self.touch();
        Ok(Reply::json(200, &self.set_object(&self.sets.known[&id])))
    }

    fn change_set(&mut self, ask: &Ask, id: u64) -> Reply {
        let body = ask.json().unwrap_or(Value::Null);
        let set = self.sets.known.get_mut(&id).expect("looked up");
        if let Some(name) = body["name"].as_str() {
            name.clone_into(&mut set.name);
        }
        if let Some(group) = body["runnerGroupId"].as_u64() {
            set.group = group;
        }
        if let Some(labels) = labels(&body) {
            set.labels = labels;
        }
        if let Some(disable) = body["RunnerSetting"]["disableUpdate"].as_bool() {
            set.disable_update = disable;
        }
        self.touch();
        Reply::json(200, &self.set_object(&self.sets.known[&id]))
    }

    fn open_session(&mut self, ask: &Ask, id: u64) -> Result<Reply, Reply> {
        let body = ask.json().unwrap_or(Value::Null);
        let owner = body["ownerName"].as_str().unwrap_or_default().to_owned();
        if owner.is_empty() {
            return Err(failure(400, "ArgumentException", "a session needs an owner"));
        }
        let silence = self.sets.session_for;
        let session =
            self.sets.known[&id].session.as_ref().filter(|session| session.heard.elapsed() < silence);
        if let Some(session) = session {
            let message = format!("the scale set has an active session for owner {}", session.owner);
            return Err(failure(409, "RunnerScaleSetSessionConflictException", &message));
        }
        // What an earlier session was offered and did not acquire is offered again.
        for job in self.jobs.entries.values_mut() {
            if let Some(way) = job.set.as_mut().filter(|way| way.set == id) {
                way.offered = None;
            }
        }
        let expires = self.queue_expiry();
        let session = Session { id: uuid(), owner, token: random(64), expires, heard: Instant::now() };
        let told = self.statistics(id);
        let set = self.sets.known.get_mut(&id).expect("looked up");
        (set.session, set.told) = (Some(session), told);
        self.touch();
        Ok(self.session_reply(id))
    }

    fn queue_expiry(&self) -> Timestamp {
        self.clock.now().saturating_add(self.sets.lifetime()).unwrap_or_default()
    }

    fn session_reply(&self, id: u64) -> Reply {
        let set = &self.sets.known[&id];
        let session = set.session.as_ref().expect("just looked at");
        Reply::json(
            200,
            &json!({
                "sessionId": session.id,
                "ownerName": session.owner,
                "runnerScaleSet": self.set_object(set),
                "messageQueueUrl": format!("{}{PREFIX}/_message/{id}?sessionId={}", self.base, session.id),
                "messageQueueAccessToken": session.token,
                "statistics": self.statistics_object(id),
            }),
        )
    }

    fn session(&mut self, method: &str, id: u64, wanted: &str) -> Result<Reply, Reply> {
        let expires = self.queue_expiry();
        let set = self.sets.known.get_mut(&id).expect("looked up");
        let Some(session) = set.session.as_mut().filter(|session| session.id == wanted) else {
            return Err(failure(404, "RunnerScaleSetSessionNotFoundException", "no session of this id"));
        };
        match method {
            "PATCH" => {
                session.token = random(64);
                session.expires = expires;
                session.heard = Instant::now();
                Ok(self.session_reply(id))
            }
            "DELETE" => {
                set.session = None;
                self.touch();
                Ok(Reply::empty(204))
            }
            _ => Err(failure(405, "VssResourceNotFoundException", "no such method")),
        }
    }

    fn set_jit(&mut self, ask: &Ask, id: u64) -> Result<Reply, Reply> {
        let body = ask.json().unwrap_or(Value::Null);
        let set = &self.sets.known[&id];
        let (scope, group, labels) = (set.scope, set.group, set.labels.clone());
        let Some(name) = body["name"].as_str().filter(|name| !name.is_empty()) else {
            return Err(failure(400, "ArgumentException", "a runner needs a name"));
        };
        if self.runners.named(scope, name).is_some() {
            return Err(failure(409, "AgentExistsException", &format!("Agent {name} already exists")));
        }
        let work = body["workFolder"].as_str().unwrap_or("_work").to_owned();
        let (runner, config) = self.mint_runner(scope, name, group, labels, Some(id), &work);
        Ok(Reply::json(
            200,
            &json!({
                "runner": {"id": runner, "name": name, "runnerScaleSetId": id},
                "encodedJITConfig": config,
            }),
        ))
    }
}

fn labels(body: &Value) -> Option<Vec<String>> {
    let labels = body["labels"].as_array().filter(|labels| !labels.is_empty())?;
    Some(labels.iter().filter_map(|label| label["name"].as_str()).map(ToOwned::to_owned).collect())
}

impl FakeGithub {
    /// The scale sets' ids and names.
    pub fn scale_sets(&self) -> Vec<(u64, String)> {
        self.shared.with(|state| state.sets.known.values().map(|set| (set.id, set.name.clone())).collect())
    }

    /// The labels that jobs may ask a scale set for.
    pub fn scale_set_labels(&self, set: u64) -> Vec<String> {
        self.shared.with(|state| state.sets.known.get(&set).map(|set| set.labels.clone()).unwrap_or_default())
    }

    /// Somebody with another client gives a scale set other labels.
    pub fn change_scale_set_by_hand(&self, set: u64, labels: &[&str]) {
        self.shared.with(|state| {
            if let Some(set) = state.sets.known.get_mut(&set) {
                set.labels = labels.iter().map(|label| (*label).to_owned()).collect();
            }
        });
    }

    /// How many runners a scale set may have, as its listener last said.
    pub fn capacity(&self, set: u64) -> u64 {
        self.shared.with(|state| state.sets.known.get(&set).map_or(0, |set| set.capacity))
    }

    /// A scale set's numbers.
    pub fn statistics(&self, set: u64) -> Statistics {
        self.shared.with(|state| state.statistics(set))
    }

    /// Whose session a scale set has.
    pub fn session_owner(&self, set: u64) -> Option<String> {
        self.shared.with(|state| Some(state.sets.known.get(&set)?.session.as_ref()?.owner.clone()))
    }

    /// The service forgets a scale set's session; its next question is answered with 401, its refresh with 404.
    pub fn drop_session(&self, set: u64) {
        self.shared.with(|state| {
            if let Some(set) = state.sets.known.get_mut(&set) {
                set.session = None;
            }
            state.touch();
        });
    }

    /// The session's token for the queue runs out now; a question that is under way is answered with 401.
    pub fn expire_queue_token(&self, set: u64) {
        self.shared.with(|state| {
            let session = state.sets.known.get_mut(&set).and_then(|set| set.session.as_mut());
            if let Some(session) = session {
                session.expires = Timestamp::UNIX_EPOCH;
            }
            state.touch();
        });
    }

    /// Every token for the Actions service runs out now.
    pub fn expire_admin_tokens(&self) {
        self.shared.with(|state| state.sets.admins.clear());
    }

    /// Tokens of the Actions service and of queues that are made from now on live so long instead of an hour.
    pub fn set_actions_token_lifetime(&self, lifetime: SignedDuration) {
        self.shared.with(|state| state.sets.token_lifetime = Some(lifetime));
    }

    /// Whether the Actions service puts a byte order mark before its answers.
    pub fn set_bom(&self, bom: bool) {
        self.shared.with(|state| state.sets.bom = bom);
    }

    /// How long a question for messages stays open; a second unless set (GitHub: 50).
    pub fn set_message_poll(&self, time: Duration) {
        self.shared.with(|state| state.sets.poll = time);
    }

    /// A job that was offered and not acquired is offered again after this time; 10 seconds unless set.
    pub fn set_offer_timeout(&self, time: Duration) {
        self.shared.with(|state| state.sets.offered_for = time);
    }

    /// A session that asks for nothing for so long may be replaced; 10 minutes unless set.
    pub fn set_session_timeout(&self, time: Duration) {
        self.shared.with(|state| state.sets.session_for = time);
    }
}
