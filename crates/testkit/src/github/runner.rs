//! The stand-in for the runner's own program, and its side of the fake. The real protocol is GitHub's secret and changes;
//! this one is simple enough for `sh` and `wget` of busybox, and a guest sees of it what it would see of the real one:
//! the variable, the lines of output, the hooks, the exit codes.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::busybox;

use crate::http::{self, Ask, Reply, Shared};

use super::known::jobs::{AssignmentResult, JobStatus};
use super::known::runners::RunnerFate;
use super::state::State;

/// `run.sh` of a runner: takes its credential from `ACTIONS_RUNNER_INPUT_JITCONFIG`, runs one job, ends. Needs busybox,
/// or what is named like its applets.
pub const SCRIPT: &str = include_str!("run.sh");

/// Reference of an image with it, for a configuration.
pub fn image() -> String {
    static REFERENCE: OnceLock<String> = OnceLock::new();
    let make = || {
        let layers = [busybox::layer(), busybox::layer_of("home/runner/run.sh", SCRIPT.as_bytes())];
        busybox::kept(&busybox::archive(&layers))
    };
    REFERENCE.get_or_init(make).clone()
}

/// Where the fake answers runners.
pub(super) const PREFIX: &str = "/_runner";

/// How long a runner's question for a job stays open.
const WAIT: Duration = Duration::from_secs(2);
/// The most of a job's output that is kept.
const LOG: usize = 1 << 20;

pub(super) async fn answer(shared: &Shared<State>, ask: &Ask, path: &str) -> Reply {
    let mut fields = ask.query.clone();
    if path != "/log" {
        fields.extend(http::query(&String::from_utf8_lossy(&ask.body)));
    }
    let field = |name: &str| {
        fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let token = field("token");
    let said = match path {
        "/online" => shared.with(|state| online(state, token, field("nonce"))),
        "/wait" => {
            let found = shared.poll(WAIT, |state| wait(state, token));
            found.await.unwrap_or_else(|| "none".into())
        }
        "/script" => shared.with(|state| script(state, token)),
        "/alive" => shared.with(|state| alive(state, token)),
        "/log" => shared.with(|state| log(state, token, &ask.body)),
        "/completed" => shared.with(|state| completed(state, token, field("result"))),
        _ => return Reply::text(404, "unknown"),
    };
    Reply::text(200, &said)
}

fn online(state: &mut State, token: &str, nonce: &str) -> String {
    let deprecated = state.runners.deprecated;
    let Some(entry) = state.runners.by_token(token) else { return "gone".into() };
    let name = entry.public.name.clone();
    if entry.used_by.as_ref().is_some_and(|used| used != nonce) {
        state.violation(format!("the credential of runner {name} was used twice"));
        return "used".into();
    }
    if !entry.is_listed() {
        return "gone".into();
    }
    entry.used_by = Some(nonce.to_owned());
    if deprecated {
        return "deprecated".into();
    }
    entry.heard = Instant::now();
    entry.public.online = true;
    state.touch();
    "ok".into()
}

fn wait(state: &mut State, token: &str) -> Option<String> {
    let Some(entry) = state.runners.by_token(token).filter(|entry| entry.is_listed()) else {
        return Some("gone".into());
    };
    entry.heard = Instant::now();
    let was = std::mem::replace(&mut entry.public.online, true);
    let job = entry.public.job;
    if !was {
        state.touch();
    }
    let id = job?;
    if state.job(id).public.status == JobStatus::Queued {
        state.pick_up(id);
    }
    let server = state.base.clone();
    let job = &state.job(id).public;
    let line = |text: &str| text.replace(['\n', '\r'], " ");
    Some(format!(
        "job={id}\nrun={}\nrepository={}\nworkflow={}\nname={}\nserver={server}\n",
        job.run_id,
        line(&job.request.repository),
        line(&job.request.workflow),
        line(&job.request.name),
    ))
}

fn script(state: &mut State, token: &str) -> String {
    let job = state.runners.by_token(token).and_then(|entry| entry.public.job);
    job.map_or_else(|| "exit 1".into(), |job| state.job(job).public.request.script.clone())
}

fn alive(state: &mut State, token: &str) -> String {
    let Some(entry) = state.runners.by_token(token).filter(|entry| entry.is_listed()) else {
        return "gone".into();
    };
    entry.heard = Instant::now();
    let job = entry.public.job;
    let cancelling = job.is_some_and(|job| state.job(job).cancelling);
    if cancelling { "cancel".into() } else { "ok".into() }
}

fn log(state: &mut State, token: &str, body: &[u8]) -> String {
    if let Some(job) = state.runners.by_token(token).and_then(|entry| entry.public.job) {
        state.job(job).public.log = String::from_utf8_lossy(&body[..body.len().min(LOG)]).into_owned();
    }
    "ok".into()
}

fn completed(state: &mut State, token: &str, result: &str) -> String {
    let Some(entry) = state.runners.by_token(token).filter(|entry| entry.is_listed()) else {
        return "gone".into();
    };
    entry.public.fate = Some(RunnerFate::Done);
    entry.public.online = false;
    let job = entry.public.job;
    state.touch();
    let Some(job) = job else { return "none".into() };
    let outcome = match result {
        "Succeeded" => AssignmentResult::Succeeded,
        "Canceled" => AssignmentResult::Cancelled,
        _ => AssignmentResult::Failed,
    };
    state.complete(job, outcome);
    "ok".into()
}
