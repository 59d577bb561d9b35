//! Jobs of hosted forges: what is known of them, and of the runners that have them.

use fireactions_model::{JobRecord, JobState, RemoteJob};
use jiff::Timestamp;

use super::{program, short, took};
use crate::cli::show;

/// What people know a job by.
pub(super) fn name(job: &JobRecord) -> Option<String> {
    let remote = job.remote.as_ref();
    let waits_for_job = remote.filter(|remote| remote.runner.is_some() && remote.title().is_none());
    job.spec
        .name
        .clone()
        .or_else(|| remote.and_then(RemoteJob::title))
        .or_else(|| waits_for_job.map(|remote| format!("(a runner of {})", remote.scope)))
}

/// A list in which some jobs are a forge's.
pub(super) fn render(jobs: &[JobRecord]) -> String {
    let mut table = show::table([
        "JOB",
        "NAME",
        "STATE",
        "RESULT",
        "POOL",
        "MACHINE",
        "LABELS",
        "WAITED",
        "TOOK",
        "RUN OR PROGRAM",
        "WAITS FOR",
    ]);
    for job in jobs {
        let remote = job.remote.as_ref();
        let conclusion = remote.and_then(|remote| remote.conclusion.clone());
        let result = conclusion.or_else(|| job.exit_code().map(|code| code.to_string()));
        let labels = remote.map(|remote| remote.labels.join(","));
        let run = match remote {
            Some(remote) => remote.url.clone().unwrap_or_else(|| "-".to_owned()),
            None => short(&program(&job.spec.program), 40),
        };
        table.add_row([
            show::cell(&job.id),
            show::maybe(name(job)),
            show::job_state(job.state),
            show::maybe(result),
            show::maybe(job.pool.as_ref()),
            show::maybe(job.machine.as_ref()),
            show::maybe(labels.filter(|labels| !labels.is_empty())),
            show::maybe(waited(job)),
            show::maybe(took(job)),
            show::cell(run),
            show::cell(job.waiting.as_ref().map(ToString::to_string).unwrap_or_default()),
        ]);
    }
    show::finish(table)
}

/// How long a job waited until it was begun, or has waited so far.
fn waited(job: &JobRecord) -> Option<String> {
    let (since, until) = match &job.remote {
        Some(remote) => (remote.queued_at.unwrap_or(job.queued_at), remote.picked_up_at),
        None => (job.queued_at, job.started_at),
    };
    let until = until.or_else(|| (job.state == JobState::Queued).then(Timestamp::now))?;
    let time = until.duration_since(since);
    u64::try_from(time.as_micros()).ok().map(show::micros)
}

/// What is known of a forge's job and its runner, a row each.
pub(super) fn rows(remote: &RemoteJob, state: JobState) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Forge", format!("{}, {}", remote.forge, remote.scope))];
    let mut add = |name, text: Option<String>| rows.extend(text.map(|text| (name, text)));
    add("Run", remote.url.clone());
    add("Workflow", remote.workflow.clone());
    add("Labels asked for", (!remote.labels.is_empty()).then(|| remote.labels.join(", ")));
    add("Runner", remote.runner.clone());
    add("Scale set", remote.scale_set.clone());
    let waits = remote.runner.is_some() && !remote.is_picked_up() && !state.is_final();
    add("Runner waits", waits.then(|| "for a job".to_owned()));
    add("Queued there", remote.queued_at.map(|time| time.to_string()));
    add("Picked up", remote.picked_up_at.map(|time| time.to_string()));
    add("Result there", remote.conclusion.clone());
    rows
}
