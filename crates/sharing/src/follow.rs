//! A host's own part: it takes its share, and tells what it has.

use std::sync::Arc;

use fireactions_cluster::Revised;
use fireactions_forge::HostedForge;
use fireactions_model::ForgeShare;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Takes each share until `stop`.
pub(crate) async fn take(
    forge: HostedForge,
    mut share: watch::Receiver<Option<Revised<ForgeShare>>>,
    stop: CancellationToken,
) {
    let taking = async {
        loop {
            let given = share.borrow_and_update().clone();
            let revision = given.as_ref().map(|given| given.revision);
            forge.take_share(given.map(|given| given.share).unwrap_or_default(), revision).await;
            if share.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = stop.run_until_cancelled(taking).await;
}

/// Has the others told whenever this host's runners change, until `stop`.
pub(crate) async fn report(forge: HostedForge, news: Arc<Notify>, stop: CancellationToken) {
    let mut changes = forge.sharing_changes();
    let mut last = forge.report();
    let reporting = async {
        while changes.changed().await.is_ok() {
            let now = forge.report();
            if now != last {
                last = now;
                news.notify_one();
            }
        }
    };
    let _ = stop.run_until_cancelled(reporting).await;
}
