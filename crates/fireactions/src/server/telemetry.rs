//! Traces of jobs, told to the collector that the configuration names.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use fireactions_config::{Config, OtlpConfig, OtlpProtocol};
use fireactions_machine::Machinery;
use fireactions_model::{Event, JobId, JobRecord, JobState, MachineView, Machines as _, Secret};
use fireactions_store::{JobFilter, Store};
use fireactions_telemetry::{Counts, Exporter, Follower, Jobs, Patience, Protocol, Settings};
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::forges;
use crate::credentials;

/// Up to which end jobs were told, in the state directory.
const MARK: &str = "traces.json";

/// The collector, as far as it can fail before the server runs: its files are read.
pub(super) fn settings(config: &Config) -> anyhow::Result<Option<Settings>> {
    let Some(otlp) = &config.telemetry.otlp else { return Ok(None) };
    let key = "telemetry.otlp";
    let settings = Settings {
        endpoint: otlp.endpoint.clone(),
        protocol: match otlp.protocol {
            OtlpProtocol::Grpc => Protocol::Grpc,
            OtlpProtocol::Http => Protocol::Http,
        },
        headers: headers(otlp).with_context(|| format!("{key}.headers_file"))?,
        ca_pem: forges::ca_pem(otlp.ca_file.as_ref(), key)?,
        insecure_http: otlp.insecure_http,
        timeout: otlp.timeout.0,
        resource: resource(otlp),
    };
    settings.check().map_err(|error| anyhow!("{key}: {error}"))?;
    Ok(Some(settings))
}

fn headers(otlp: &OtlpConfig) -> anyhow::Result<Option<Secret>> {
    let Some(file) = &otlp.headers_file else { return Ok(None) };
    Ok(Some(file.read(credentials::directory().as_deref())?))
}

/// Who tells: this server, unless the configuration says otherwise.
fn resource(otlp: &OtlpConfig) -> BTreeMap<String, String> {
    let own = [
        ("service.name", "fireactions".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host.name", forges::host_name()),
    ];
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
    own.chain(otlp.resource.clone()).collect()
}

/// Begins to tell of the jobs that end from now on, and of those that an earlier server has not told.
pub(super) fn start(
    settings: Settings,
    (config, counts): (&Config, Counts),
    (store, machines): (Store, Machinery),
    events: broadcast::Receiver<Event>,
    stopping: CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let exporter = Exporter::start(settings, Patience::default(), counts, stopping.clone())
        .map_err(|error| anyhow!("telemetry.otlp: {error}"))?;
    let follower = Follower::new(Stored { store, machines }, exporter, config.state_dir.join(MARK));
    Ok(tokio::spawn(follower.run(events, stopping)))
}

struct Stored {
    store: Store,
    machines: Machinery,
}

#[async_trait]
impl Jobs for Stored {
    async fn job(&self, id: &JobId) -> Option<JobRecord> {
        self.store.job(id).await.ok().flatten()
    }

    async fn ended_after(&self, time: Timestamp) -> Vec<JobRecord> {
        let filter = JobFilter { states: JobState::FINAL.to_vec(), ..JobFilter::default() };
        let mut jobs = self.store.jobs(filter).await.unwrap_or_default();
        jobs.retain(|job| job.finished_at.is_some_and(|ended| ended > time));
        jobs.sort_by_key(|job| job.finished_at);
        jobs
    }

    fn machines(&self) -> Vec<Arc<MachineView>> {
        self.machines.views()
    }
}
