//! A host's own part: it takes its share, and tells what it has.

use std::sync::Arc;

use fireactions_cluster::Standing;
use fireactions_forge::HostedForge;
use fireactions_model::ForgeShare;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Takes each share until `stop`. While the others do not know of this host, its share is nothing: another may have its jobs.
pub(crate) async fn take(
    forge: HostedForge,
    mut share: watch::Receiver<Option<ForgeShare>>,
    mut standing: watch::Receiver<Standing>,
    stop: CancellationToken,
) {
    let taking = async {
        loop {
            let mut given = share.borrow_and_update().clone().unwrap_or_default();
            if *standing.borrow_and_update() != Standing::Member {
                given.pools.clear();
            }
            forge.take_share(given).await;
            tokio::select! {
                Ok(()) = share.changed() => {}
                Ok(()) = standing.changed() => {}
                else => return,
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
