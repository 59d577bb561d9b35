//! A task from the server to its last words.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::VERSION;
use crate::config::Config;
use crate::job::{self, Outcome};
use crate::log::info;
use crate::report::Report;
use crate::rpc::Client;
use crate::wire::{Task, Verdict};
use crate::workflow::Job;

/// How a runner works: what the two real ones do not have in common.
pub(crate) struct Manner<'a> {
    /// The runner's name, in the log's first row.
    pub(crate) name: &'a str,
    /// A report that the server refuses gives a line.
    pub(crate) warns: bool,
    /// Asked whether the job is to end early, as the server's word does it, too.
    pub(crate) stop: &'a dyn Fn() -> bool,
}

/// Runs a task. Whatever becomes of it, the server is told, and it is no failure of the runner.
pub(crate) fn run(client: &Client, config: &Config, task: &Task, manner: &Manner) {
    let told = |name: &str| task.context.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    info(&format!(
        "task {} repo is {} {} {}",
        task.id,
        told("repository"),
        told("gitea_default_actions_url"),
        client.address
    ));
    let mut secrets: Vec<String> = task.secrets.values().cloned().collect();
    secrets.extend(["token", "gitea_runtime_token"].map(|name| told(name).to_owned()));
    let (report, reporting) = Report::begin(client.clone(), &task.id, secrets, manner.warns);
    report.row(&format!(
        "{}(version:{VERSION}) received task {} of job {}, be triggered by event: {}",
        manner.name,
        task.id,
        told("job"),
        told("event_name")
    ));
    let directory = directory(config, &task.id);
    let stop = || report.is_cancelled() || (manner.stop)();
    let ran = Job::of(&task.workflow_payload).and_then(|job| {
        report.row("workflow prepared");
        job::run(task, &job, (&directory, &config.runner.envs), &report, &stop)
    });
    let mut outcome = ran.unwrap_or_else(|error| {
        report.row(&error);
        Outcome { verdict: Verdict::Failure, outputs: BTreeMap::default() }
    });
    if outcome.verdict == Verdict::Cancelled && !report.is_cancelled() {
        // Nobody cancelled it: this runner was told to end.
        outcome.verdict = Verdict::Failure;
    }
    report.row(match outcome.verdict {
        Verdict::Success => "🏁  Job succeeded",
        _ => "🏁  Job failed",
    });
    // The machine ends soon; what cannot be removed goes with it.
    let _ = fs::remove_dir_all(&directory);
    reporting.end(outcome.verdict, outcome.outputs);
}

/// Where the task works: below what the configuration names, else the home directory.
fn directory(config: &Config, task: &str) -> PathBuf {
    let parent = match config.host.workdir_parent.as_str() {
        "" => std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from).join(".cache/act"),
        given => PathBuf::from(given),
    };
    parent.join(format!("task-{}", task.chars().filter(char::is_ascii_alphanumeric).collect::<String>()))
}
