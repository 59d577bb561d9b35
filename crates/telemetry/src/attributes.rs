//! What a trace says of its job, under OpenTelemetry's names where it has some. Nothing of the job's program, environment or
//! files: a trace is read by more people than a job.

use fireactions_model::{JobRecord, JobState, RemoteJob};

/// A name and what is said.
pub type Attributes = Vec<(&'static str, Value)>;

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, bounded.
    Text(String),
    /// A number.
    Number(i64),
    /// Yes or no.
    Bool(bool),
    /// Several texts.
    Texts(Vec<String>),
}

/// The most bytes of one text: names come from forges.
const LONGEST: usize = 256;
/// The most labels.
const LABELS: usize = 32;

/// The beginning of a text, without control characters.
pub(crate) fn bounded(text: &str) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(bounded(text))
}

fn number(number: u64) -> Value {
    Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
}

/// How the job's span is called.
pub(crate) fn name(job: &JobRecord) -> String {
    let remote = job.remote.as_ref().and_then(|remote| remote.name.as_deref());
    bounded(remote.or(job.spec.name.as_deref()).filter(|name| !name.is_empty()).unwrap_or("job"))
}

/// What is known of the job.
pub(crate) fn of(job: &JobRecord) -> Attributes {
    let mut all: Attributes = vec![
        ("fireactions.job.id", text(job.id.as_str())),
        ("fireactions.job.state", text(job.state.as_str())),
        ("fireactions.job.attempt", Value::Number(job.attempt.into())),
        ("cicd.pipeline.task.run.result", text(result(job))),
    ];
    let mut add = |name, value: Option<Value>| all.extend(value.map(|value| (name, value)));
    add("fireactions.pool", job.pool.as_ref().map(|pool| text(pool.as_str())));
    add("fireactions.machine.id", job.machine.as_ref().map(|machine| text(machine.as_str())));
    add("fireactions.job.exit_code", job.exit_code().map(|code| Value::Number(code.into())));
    let Some(remote) = &job.remote else {
        add("fireactions.forge", Some(text("local")));
        add("cicd.pipeline.task.name", job.spec.name.as_deref().map(text));
        let labels: Vec<&str> = job.spec.labels.iter().map(fireactions_model::Label::as_str).collect();
        add("fireactions.job.labels", texts(&labels));
        return all;
    };
    of_forge(remote, &mut add);
    all
}

fn of_forge(remote: &RemoteJob, add: &mut impl FnMut(&'static str, Option<Value>)) {
    let given = |value: &Option<String>| value.as_deref().map(text);
    add("fireactions.forge", Some(text(remote.forge.as_str())));
    add("fireactions.forge.scope", Some(text(&remote.scope)));
    add("fireactions.forge.conclusion", given(&remote.conclusion));
    add("fireactions.runner.id", remote.runner_id.map(number));
    add("fireactions.runner.scale_set", given(&remote.scale_set));
    add("cicd.worker.name", given(&remote.runner));
    add("cicd.pipeline.name", given(&remote.workflow));
    // Names of runs are texts there, also where they are numbers.
    let id = |id: Option<u64>| id.map(|id| text(&id.to_string()));
    add("cicd.pipeline.run.id", id(remote.run_id));
    add("cicd.pipeline.task.run.id", id(remote.id));
    add("cicd.pipeline.task.name", given(&remote.name));
    add("cicd.pipeline.task.run.url.full", given(&remote.url));
    let (owner, name) =
        match remote.repository.as_deref().map(|full| full.split_once('/').unwrap_or(("", full))) {
            Some((owner, name)) => (Some(owner).filter(|owner| !owner.is_empty()), Some(name)),
            None => (None, None),
        };
    add("vcs.owner.name", owner.map(text));
    add("vcs.repository.name", name.map(text));
    add("vcs.ref.head.name", given(&remote.git_ref));
    let labels: Vec<&str> = remote.labels.iter().map(String::as_str).collect();
    add("fireactions.job.labels", texts(&labels));
}

fn texts(list: &[&str]) -> Option<Value> {
    (!list.is_empty()).then(|| Value::Texts(list.iter().take(LABELS).map(|one| bounded(one)).collect()))
}

/// The word that OpenTelemetry's conventions have for how the job ended.
fn result(job: &JobRecord) -> &'static str {
    match job.remote.as_ref().and_then(|remote| remote.conclusion.as_deref()) {
        Some("success") => return "success",
        Some("failure") => return "failure",
        Some("cancelled" | "canceled") => return "cancellation",
        Some("skipped") => return "skip",
        Some("timed_out") => return "timeout",
        _ => {}
    }
    match job.state {
        JobState::Succeeded => "success",
        JobState::Failed => "failure",
        JobState::Cancelled => "cancellation",
        JobState::TimedOut => "timeout",
        JobState::Queued | JobState::Assigned | JobState::Running | JobState::Lost => "error",
    }
}
