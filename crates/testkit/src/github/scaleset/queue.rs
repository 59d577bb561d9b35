//! A scale set's messages: each is written when something happens, and given until it is acknowledged.

use std::time::Instant;

use serde_json::{Value, json};

use crate::http::{Ask, Reply, Shared};

use super::super::known::jobs::{ForSet, JobId, JobStatus};
use super::super::known::sets::Message;
use super::super::state::State;
use super::reply::{PREFIX, failure, list};

/// The most events of a message.
const EVENTS: usize = 50;

/// `GET` of the queue: the first message after the one that the client has had, once there is one.
pub(super) async fn next(shared: &Shared<State>, ask: &Ask, set: &str) -> Reply {
    let Ok(id) = set.parse::<u64>() else { return expired() };
    let after = ask.param("lastMessageId").map_or(Some(0), |id| id.parse().ok());
    let patience = shared.with(|state| {
        if ask.header("accept") != Some("application/json; api-version=6.0-preview") {
            state.violation(format!("message queue: Accept is {:?}", ask.header("accept")));
        }
        let last = state.sets.known.get(&id).map_or(0, |set| set.last_message);
        if after.is_none_or(|after| after > last) {
            state.violation(format!(
                "message queue: lastMessageId {:?} was never sent",
                ask.param("lastMessageId")
            ));
        }
        match ask.header("x-scalesetmaxcapacity").and_then(|value| value.parse().ok()) {
            None => state.violation("message queue: no X-ScaleSetMaxCapacity".into()),
            Some(capacity) if state.in_session(ask, id).is_ok() => {
                state.sets.known.get_mut(&id).expect("its token is known").capacity = capacity;
                state.touch();
            }
            Some(_) => {}
        }
        state.sets.poll
    });
    let found = shared.poll(patience, |state| match state.in_session(ask, id) {
        Ok(()) => state.message(id, after.unwrap_or(0)),
        Err(reply) => Some(reply),
    });
    found.await.unwrap_or_else(|| Reply::empty(202))
}

fn expired() -> Reply {
    failure(401, "MessageQueueTokenExpiredException", "the message queue token is not valid")
}

impl State {
    /// Whether a request has the token of the set's session, which then counts as heard.
    fn with_queue_token(&mut self, ask: &Ask, set: u64) -> bool {
        let now = self.clock.now();
        let session = self.sets.known.get_mut(&set).and_then(|set| set.session.as_mut());
        let token = ask.authorization("bearer");
        let Some(session) =
            session.filter(|session| Some(session.token.as_str()) == token && session.expires > now)
        else {
            return false;
        };
        session.heard = Instant::now();
        true
    }

    /// The answer to a request to the queue that is not its session's: the token and the session's id have to be.
    fn in_session(&mut self, ask: &Ask, set: u64) -> Result<(), Reply> {
        if !self.with_queue_token(ask, set) {
            return Err(expired());
        }
        let session = self.sets.known.get(&set).and_then(|set| set.session.as_ref());
        let same = session.is_some_and(|session| ask.param("sessionId") == Some(session.id.as_str()));
        let unknown =
            || failure(404, "RunnerScaleSetSessionNotFoundException", "the queue has no session of this id");
        same.then_some(()).ok_or_else(unknown)
    }

    /// Makes messages of what happened, as it happens: a message that waits for its reader tells how the set stood.
    pub(in super::super) fn write_messages(&mut self) {
        let told: Vec<u64> =
            self.sets.known.values().filter(|set| !set.events.is_empty()).map(|set| set.id).collect();
        for id in told {
            let statistics = self.statistics(id);
            let Some(set) = self.sets.known.get_mut(&id) else { continue };
            let mut events = std::mem::take(&mut set.events);
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(EVENTS));
                set.put(Message { events: std::mem::replace(&mut events, rest), statistics });
            }
        }
    }

    /// The first message after `last` that was not acknowledged. Where there is none and the set stands otherwise than the
    /// client was last told, a message that says nothing but that.
    fn message(&mut self, id: u64, last: u64) -> Option<Reply> {
        let statistics = self.statistics(id);
        let set = self.sets.known.get_mut(&id)?;
        if set.messages.range(last + 1..).next().is_none() {
            if set.told == statistics {
                return None;
            }
            set.put(Message { events: Vec::new(), statistics });
        }
        let (id, message) = set.messages.range(last + 1..).next()?;
        set.told = message.statistics;
        let body = if message.events.is_empty() { String::new() } else { json!(message.events).to_string() };
        Some(Reply::json(
            200,
            &json!({
                "messageId": id,
                "messageType": "RunnerScaleSetJobMessages",
                "body": body,
                "statistics": message.statistics.object(),
            }),
        ))
    }

    /// `DELETE` of a message.
    pub(super) fn acknowledge(&mut self, ask: &Ask, set: &str, message: &str) -> Reply {
        let id = set.parse().unwrap_or(0);
        if let Err(reply) = self.in_session(ask, id) {
            return reply;
        }
        let message = message.parse().unwrap_or(0);
        let gone = self.sets.known.get_mut(&id).is_some_and(|set| set.messages.remove(&message).is_some());
        self.touch();
        if gone {
            Reply::empty(204)
        } else {
            failure(404, "MessageNotFoundException", "no message of this id")
        }
    }

    /// `acquirejobs`.
    pub(super) fn acquire(&mut self, ask: &Ask, set: &str) -> Reply {
        let set = set.parse().unwrap_or(0);
        if !self.with_queue_token(ask, set) {
            return expired();
        }
        let Some(wanted) = ask.json().and_then(|body| body.as_array().cloned()) else {
            return failure(400, "ArgumentException", "the body is not a list of ids");
        };
        let now = self.clock.now();
        let mut acquired = Vec::new();
        for id in wanted.iter().filter_map(Value::as_u64).map(JobId) {
            let Some(job) = self.jobs.entries.get_mut(&id) else { continue };
            let waits = job.public.status == JobStatus::Queued;
            let Some(way) = job.set.as_mut().filter(|way| waits && way.set == set && way.acquired.is_none())
            else {
                continue;
            };
            way.acquired = Some(now);
            acquired.push(id);
        }
        self.touch();
        for id in &acquired {
            self.tell_set(*id, "JobAssigned", None);
        }
        list(acquired.iter().map(|id| id.0.into()))
    }

    /// Sends queued jobs to the scale set whose labels they ask for.
    pub(in super::super) fn route_to_sets(&mut self) {
        if self.sets.known.is_empty() {
            return;
        }
        for job in self.jobs.entries.values_mut() {
            if job.set.is_some() || job.public.status != JobStatus::Queued || job.assigned.is_some() {
                continue;
            }
            let found = self.sets.known.values().find(|set| {
                let has = |label: &String| set.labels.iter().any(|own| own.eq_ignore_ascii_case(label));
                self.accounts.serves(set.scope, set.group, job.repository)
                    && job.public.request.labels.iter().all(has)
            });
            if let Some(set) = found {
                job.set = Some(ForSet { set: set.id, offered: None, acquired: None });
                self.version += 1;
            }
        }
    }

    /// Offers jobs to sets with a session, as far as these have room.
    pub(in super::super) fn offer(&mut self) {
        let again = self.sets.offered_for;
        let sets: Vec<(u64, u64)> = self
            .sets
            .known
            .values()
            .filter(|set| set.session.is_some())
            .map(|set| (set.id, set.capacity))
            .collect();
        for (set, capacity) in sets {
            let mut taken = self.statistics(set).assigned;
            let mut offers = Vec::new();
            for job in self.jobs.entries.values_mut() {
                let waits = job.public.status == JobStatus::Queued;
                let Some(way) =
                    job.set.as_mut().filter(|way| waits && way.set == set && way.acquired.is_none())
                else {
                    continue;
                };
                if taken >= capacity {
                    break;
                }
                taken += 1;
                if way.offered.is_none_or(|since| since.elapsed() > again) {
                    way.offered = Some(Instant::now());
                    offers.push(job.public.id);
                }
            }
            for id in offers {
                self.tell_set(id, "JobAvailable", None);
            }
        }
    }

    /// Tells a job's scale set what became of it.
    pub(in super::super) fn tell_set(&mut self, id: JobId, kind: &str, result: Option<&str>) {
        let Some(way) = self.jobs.entries[&id].set else { return };
        let event = self.event(id, way, kind, result);
        if let Some(set) = self.sets.known.get_mut(&way.set) {
            set.events.push(event);
        }
        self.touch();
    }

    fn event(&self, id: JobId, way: ForSet, kind: &str, result: Option<&str>) -> Value {
        const NEVER: &str = "0001-01-01T00:00:00Z";
        let job = &self.jobs.entries[&id].public;
        let (owner, name) = job.request.repository.split_once('/').unwrap_or_default();
        let time = |time: Option<jiff::Timestamp>| time.map_or(NEVER.to_owned(), |time| time.to_string());
        let mut event = json!({
            "messageType": kind,
            "runnerRequestId": id.0,
            "repositoryName": name,
            "ownerName": owner,
            "jobId": format!("{:08x}-0000-4000-8000-000000000000", id.0 & 0xffff_ffff),
            "jobWorkflowRef": job.request.cause.workflow_ref,
            "jobDisplayName": job.request.name,
            "workflowRunId": job.run_id,
            "eventName": job.request.cause.event,
            "requestLabels": job.request.labels,
            "queueTime": job.queued_at,
            "scaleSetAssignTime": time(way.acquired),
            "runnerAssignTime": time(job.assignments.last().map(|last| last.assigned_at)),
            "finishTime": time(job.completed_at),
        });
        if kind == "JobAvailable" {
            let url = format!("{}{PREFIX}/_apis/runtime/runnerscalesets/{}/acquirejobs", self.base, way.set);
            event["acquireJobUrl"] = url.into();
        }
        if matches!(kind, "JobStarted" | "JobCompleted") {
            let last = job.assignments.last();
            event["runnerId"] = last.map_or(0, |last| last.runner_id).into();
            event["runnerName"] = last.map_or("", |last| &last.runner_name).into();
        }
        if let Some(result) = result {
            event["result"] = result.into();
        }
        event
    }
}
