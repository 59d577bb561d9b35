//! A job as a workflow of its own: what a runner gets.

use std::fmt::Write as _;

use super::known::jobs::{JobRequest, Workflow};

/// The workflow with this job alone, as the forge writes it.
pub(super) fn of_job(workflow: &Workflow, job: &JobRequest) -> String {
    let name = workflow.file.split('.').next().unwrap_or_default();
    let key = key(job);
    let runs_on = match job.runs_on.as_slice() {
        [one] => scalar(one),
        all => serde_json::Value::from(all).to_string(),
    };
    let mut text = format!(
        "name: {name}\n\"on\": {}\njobs:\n    {key}:\n        name: {}\n        runs-on: {runs_on}\n        steps:\n",
        workflow.event,
        scalar(&job.name),
    );
    for (name, run) in &job.steps {
        let run = scalar(run);
        let _ = if name.is_empty() {
            writeln!(text, "            - run: {run}")
        } else {
            write!(text, "            - name: {}\n              run: {run}\n", scalar(name))
        };
    }
    text
}

/// What the workflow's file calls the job: a job of a matrix has its values behind that.
pub(super) fn key(job: &JobRequest) -> String {
    job.name.split(" (").next().unwrap_or_default().replace(' ', "-")
}

/// JSON's strings are YAML's as well; plain ones need no quotes.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|next| next.is_ascii_graphic() || next == ' ')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.parse::<f64>().is_err()
        && !["true", "false", "yes", "no", "on", "off", "null"].contains(&text.to_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
