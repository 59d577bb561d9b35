//! What has to be done now and then: old jobs and unused images go.

use std::time::Duration;

use fireactions_forge::local::LocalForge;
use fireactions_image::{GcPolicy, Images};
use fireactions_store::Store;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(600);

pub(super) async fn run(
    forge: LocalForge,
    images: Images,
    store: Store,
    unused_for: Option<Duration>,
    stopping: CancellationToken,
) {
    while stopping.run_until_cancelled(tokio::time::sleep(EVERY.mul_f64(rand::random_range(0.8..1.2)))).await.is_some() {
        match forge.purge().await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "old jobs removed"),
            Err(error) => tracing::warn!(%error, "old jobs could not be removed"),
        }
        let Ok(in_use) = super::engine::images_in_use(&store).await else { continue };
        match images.gc(GcPolicy { max_bytes: None, unused_for }, &in_use).await {
            Ok(report) if report.removed.is_empty() => {}
            Ok(report) => tracing::info!(images = report.removed.len(), bytes = report.freed, "unused images removed"),
            Err(error) => tracing::warn!(%error, "unused images could not be removed"),
        }
    }
}
