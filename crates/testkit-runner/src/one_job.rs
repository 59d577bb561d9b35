//! `forgejo-runner one-job`: who it is stands in flags or in the configuration; it asks for one job, or waits for one.

use std::fs;
use std::time::Duration;

use crate::arguments::OneJob;
use crate::config::{Config, Connection, plain};
use crate::label::{self, Bare};
use crate::log::{self, Level, info};
use crate::rpc::Client;
use crate::signals::Terminated;
use crate::task::{self, Manner};
use crate::{Ended, VERSION};

/// The deadline of one question for a task.
const FETCH: Duration = Duration::from_secs(30);

/// Runs one job.
pub(crate) fn run(config: Option<&str>, asked: &OneJob) -> Result<Ended, String> {
    let terminated = Terminated::watch()?;
    let config = Config::read(config)?;
    let connection = connection(&config, asked)?;
    let token = secret(&connection.token_url)?;
    info("Starting job");
    let labels = label::names(&connection.labels, Bare::Docker)?;
    let client = Client::new(&connection.url, &connection.uuid, &token)?;
    let runner = client
        .declare(&labels)
        .inspect_err(|error| log::line(Level::Error, "fail to invoke Declare", &[("error", error)]))?;
    info(&format!(
        "runner: {}, with version: {VERSION}, with labels: [{}], ephemeral: {}, declared successfully",
        runner.name,
        labels.join(" "),
        runner.ephemeral
    ));
    info("single task poller launched");
    // The same question asked again is answered with the same task.
    let key = fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|error| plain(&error))?;
    let fetch = || match &asked.handle {
        Some(handle) => client.fetch_one(handle, key.trim(), FETCH),
        None => client.fetch("", FETCH),
    };
    let mut ended = Ended::NoTask;
    loop {
        let fetched = fetch()
            .inspect_err(|error| log::line(Level::Error, "failed to fetch task", &[("error", error)]))
            .unwrap_or_default();
        if let Some(task) = fetched.task {
            info(&format!("single task poller successfully fetched one task from {}", client.address));
            let stop = || terminated.within(Duration::ZERO);
            task::run(&client, &config, &task, &Manner { name: "default", warns: true, stop: &stop });
            ended = Ended::Well;
            break;
        }
        if !asked.wait {
            break;
        }
        info(&format!("single task poller received no task from {}, trying again", client.address));
        if terminated.within(config.runner.fetch_interval) {
            ended = Ended::Well;
            break;
        }
    }
    info("single task poller is shutting down");
    Ok(ended)
}

/// Flags, else the one connection of the configuration.
fn connection(config: &Config, asked: &OneJob) -> Result<Connection, String> {
    if asked.url.is_empty() && asked.uuid.is_empty() && asked.token_url.is_empty() {
        let mut configured = config.server.connections.values();
        return match (configured.next(), configured.len()) {
            (Some(one), 0) => Ok(one.clone()),
            _ => Err(format!(
                "one-job is only supported with a single connection, but {} connections are configured",
                config.server.connections.len()
            )),
        };
    }
    for (name, value) in [("url", &asked.url), ("uuid", &asked.uuid), ("token-url", &asked.token_url)] {
        if value.is_empty() {
            return Err(format!("invalid configuration: `{name}` is empty"));
        }
    }
    let OneJob { url, uuid, token_url, labels, .. } = asked.clone();
    Ok(Connection { url, uuid, token_url, labels })
}

/// What a `file:///…` holds.
fn secret(url: &str) -> Result<String, String> {
    let path = url.strip_prefix("file://").unwrap_or_default();
    let read = if path.starts_with('/') {
        fs::read_to_string(path).map_err(|error| plain(&error))
    } else {
        Err("no such file or directory".to_owned())
    };
    read.map_err(|error| {
        format!(
            "invalid configuration: invalid `token-url`: cannot read secret \"{url}\": open {path}: {error}"
        )
    })
}
