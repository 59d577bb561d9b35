//! `act_runner daemon`: who it is stands in `.runner`; it waits for a job for as long as it takes. An ephemeral one ends
//! after one job. The exit code says nothing of the job.

use crate::config::Config;
use crate::label::{self, Bare};
use crate::log::{self, Level, info};
use crate::registration::{Missing, Registration};
use crate::rpc::Client;
use crate::signals::Terminated;
use crate::task::{self, Manner};
use crate::wire::FetchResponse;
use crate::{Ended, VERSION};

/// Runs until a job or a signal ends it.
pub(crate) fn run(config: Option<&str>, once: bool) -> Result<Ended, String> {
    let terminated = Terminated::watch()?;
    let config = Config::read(config)?;
    info("Starting runner daemon");
    let registration = Registration::read(&config.runner.file).map_err(|missing| match missing {
        Missing::NotFound(error) => {
            log::line(Level::Error, "registration file not found, please register the runner first", &[]);
            error
        }
        Missing::Unusable(error) => {
            log::line(Level::Error, "failed to load registration file", &[("error", &error)]);
            error
        }
    })?;
    let labels = if config.runner.labels.is_empty() { &registration.labels } else { &config.runner.labels };
    let labels = label::names(labels, Bare::Host)?;
    let client = Client::new(&registration.address, &registration.uuid, &registration.token)?;
    client
        .declare(&labels)
        .inspect_err(|error| log::line(Level::Error, "fail to invoke Declare", &[("error", error)]))?;
    let name = registration.name.as_str();
    info(&format!(
        "runner: {name}, with version: {VERSION}, with labels: [{}], declare successfully",
        labels.join(" ")
    ));
    let ended = || {
        info(&format!(
            "runner: {name} shutdown initiated, waiting 0s for running jobs to complete before shutting down"
        ));
        Ok(Ended::Well)
    };
    let (mut version, mut pause) = (String::new(), std::time::Duration::ZERO);
    while !terminated.within(pause) {
        pause = config.runner.fetch_interval;
        match client.fetch(&version, config.runner.fetch_timeout) {
            Ok(FetchResponse { task: Some(task), .. }) => {
                // As the real one: a signal does not end the job.
                task::run(&client, &config, &task, &Manner { name, warns: false, stop: &|| false });
                if once || registration.ephemeral {
                    return ended();
                }
                // So that the next question is answered by a look.
                version.clear();
            }
            Ok(FetchResponse { task: None, tasks_version }) => version = tasks_version,
            Err(error) => log::line(Level::Error, "failed to fetch task", &[("error", &error)]),
        }
    }
    ended()
}
