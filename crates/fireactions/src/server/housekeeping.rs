//! Regular tasks: remove old jobs, unused images and volumes, restore lost network rules.

use std::time::Duration;

use fireactions_forge::local::LocalForge;
use fireactions_image::{GcPolicy, Images};
use fireactions_net::Network;
use fireactions_store::Store;
use fireactions_volumes::Volumes;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(600);
/// A foreign `nft flush ruleset` opens every running guest's network until the rules are put back.
const RULES_EVERY: Duration = Duration::from_secs(10);

/// Puts back rules that somebody else took away.
pub(super) async fn keep_rules(network: Network, stopping: CancellationToken) {
    while stopping.run_until_cancelled(tokio::time::sleep(RULES_EVERY)).await.is_some() {
        if let Err(error) = network.repair().await {
            tracing::warn!(%error, "the machines' network rules could not be checked");
        }
    }
}

pub(super) async fn run(
    forge: LocalForge,
    images: Images,
    store: Store,
    volumes: Option<Volumes>,
    unused_for: Option<Duration>,
    stopping: CancellationToken,
) {
    while stopping
        .run_until_cancelled(tokio::time::sleep(EVERY.mul_f64(rand::random_range(0.8..1.2))))
        .await
        .is_some()
    {
        match forge.purge().await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "old jobs removed"),
            Err(error) => tracing::warn!(%error, "old jobs could not be removed"),
        }
        if let Some(volumes) = volumes.clone() {
            let _ = tokio::task::spawn_blocking(move || volumes.sweep()).await;
        }
        let Ok(in_use) = super::engine::images_in_use(&store).await else { continue };
        match images.gc(GcPolicy { max_bytes: None, unused_for }, &in_use).await {
            Ok(report) if report.removed.is_empty() => {}
            Ok(report) => {
                tracing::info!(images = report.removed.len(), bytes = report.freed, "unused images removed");
            }
            Err(error) => tracing::warn!(%error, "unused images could not be removed"),
        }
    }
}
