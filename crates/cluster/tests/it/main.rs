//! Hosts of a cluster, with a real NATS server.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod leases;
mod membership;
mod permissions;
mod troubles;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fireactions_cluster::{CredsSource, Identity, PROTOCOL, Settings};
use fireactions_model::{ClusterHost, ClusterName, Secret};
use fireactions_testkit::real_nats::{self, NatsSetup, RealNats};
use jiff::Timestamp;

/// Longer than any of this takes on a busy host.
const PATIENCE: Duration = Duration::from_secs(30);

/// A NATS; nothing where it is not built.
fn nats(test: &str, setup: NatsSetup) -> Option<RealNats> {
    Some(RealNats::start(&real_nats::available(test)?, setup))
}

fn settings(nats: &RealNats, host: &str) -> Settings {
    Settings {
        cluster: ClusterName::new("ci").unwrap(),
        host: ClusterHost::new(host).unwrap(),
        urls: vec![nats.url()],
        require_tls: false,
        creds: None,
        ca_file: None,
        certificate: None,
    }
}

fn creds(path: PathBuf) -> CredsSource {
    Arc::new(move || std::fs::read_to_string(&path).map(Secret::new).map_err(|error| error.to_string()))
}

fn identity(host: &str, instance: &str, run: &str) -> Identity {
    Identity {
        host: ClusterHost::new(host).unwrap(),
        instance: instance.to_owned(),
        run: run.to_owned(),
        since: Timestamp::now(),
        version: "1.2.3".to_owned(),
        protocol: PROTOCOL,
        zone: None,
        labels: fireactions_model::Labels::new(),
    }
}

/// Waits until there is something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn delete_bucket(nats: &RealNats, name: &str) {
    let client = async_nats::connect(nats.url()).await.unwrap();
    async_nats::jetstream::new(client).delete_key_value(name).await.unwrap();
}
