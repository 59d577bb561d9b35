//! Images: what is in the store, what is in use, pulls.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fireactions_api::engine::{EngineStream, Result};
use fireactions_api::{Fault, GcReport, GcRequest, ImageView, PullEvent, PullStatus};
use fireactions_image::{GcPolicy, ImageError, Images, Progress, ProgressFn};
use fireactions_model::{Digest, ImageRef, PullPolicy};
use fireactions_store::Store;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const PULL_DEADLINE: Duration = Duration::from_secs(3600);

fn fault(error: &ImageError) -> Fault {
    Fault::internal(error.to_string())
}

/// Images that a machine holds: pinned by its row.
pub(in crate::server) async fn in_use(store: &Store) -> Result<HashSet<Digest>> {
    let rows = store.machines().await.map_err(|e| Fault::internal(e.to_string()))?;
    Ok(rows.into_iter().filter_map(|row| row.image).collect())
}

pub(super) async fn list(images: &Images, store: &Store) -> Result<Vec<ImageView>> {
    let used = in_use(store).await?;
    let infos = images.list().await.map_err(|e| fault(&e))?;
    let view = |info: fireactions_image::ImageInfo| ImageView {
        in_use: used.contains(&info.digest),
        digest: info.digest,
        names: info.names,
        size: info.size,
        templates: info.templates,
        created_at: info.created_at,
        last_used: info.last_used,
    };
    Ok(infos.into_iter().map(view).collect())
}

/// Refuses an image that a caller may not name.
pub(super) fn permitted(images: &Images, image: &ImageRef) -> Result<()> {
    images.permits(image).map_err(|error| Fault::invalid(error.to_string()))
}

/// Pulls in a task of its own that ends with the stream. Progress that nobody takes in time is skipped.
pub(super) fn pull(images: &Images, image: ImageRef, policy: PullPolicy) -> EngineStream<PullEvent> {
    let (sender, receiver) = mpsc::channel(16);
    let images = images.clone();
    tokio::spawn(async move {
        let steps = sender.clone();
        let progress: ProgressFn = Arc::new(move |progress| {
            // The last word, with the digest, is said below.
            if progress != Progress::Ready {
                let _ = steps.try_send(Ok(event(progress)));
            }
        });
        let pulled = tokio::select! {
            pulled = tokio::time::timeout(PULL_DEADLINE, images.ensure(&image, policy, Some(progress))) => pulled,
            () = sender.closed() => return,
        };
        let last = match pulled {
            Ok(Ok(root)) => Ok(PullEvent { digest: Some(root.digest), ..event(Progress::Ready) }),
            Ok(Err(error)) => Err(fault(&error)),
            Err(_) => Err(Fault::new(
                fireactions_api::Code::Timeout,
                format!("image '{image}' was not ready after {PULL_DEADLINE:?}"),
            )),
        };
        let _ = sender.send(last).await;
    });
    Box::pin(ReceiverStream::new(receiver))
}

fn event(progress: Progress) -> PullEvent {
    let (status, done, total) = match progress {
        Progress::Resolving => (PullStatus::Resolving, 0, None),
        Progress::Pulling { done, total } => (PullStatus::Pulling, done, Some(total)),
        Progress::Converting { done, total } => (PullStatus::Converting, done, Some(total)),
        Progress::Ready => (PullStatus::Ready, 0, None),
    };
    PullEvent { status, done, total, digest: None }
}

pub(super) async fn remove(images: &Images, store: &Store, what: &str) -> Result<Vec<Digest>> {
    let used = in_use(store).await?;
    images.remove(what, &used).await.map_err(|error| {
        let text = error.to_string();
        match error {
            ImageError::InUse(_) => Fault::conflict(text).hint(
                "wait for its machines to end (`fireactions ps`), or pause the pool that keeps them warm",
            ),
            ImageError::Unknown(_) => Fault::not_found(text),
            ImageError::Ambiguous(_) => Fault::invalid(text),
            _ => Fault::internal(text),
        }
    })
}

pub(super) async fn gc(images: &Images, store: &Store, request: GcRequest) -> Result<GcReport> {
    let policy = GcPolicy {
        max_bytes: request.max_bytes,
        unused_for: request.unused_for_secs.map(Duration::from_secs),
    };
    let used = in_use(store).await?;
    let report = images.gc(policy, &used).await.map_err(|e| fault(&e))?;
    Ok(GcReport { removed: report.removed, freed: report.freed, left: report.kept })
}
