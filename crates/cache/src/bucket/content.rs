//! Content on its way to the bucket: in parts of which few are in memory, those of all uploads together.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};

use super::Bucket;
use super::journal::{Begun, Left};
use super::names::Kind;
use crate::CacheError;
use crate::blocking::blocking;
use crate::index::EntryId;
use crate::storage::Finished;

/// A part, in bytes. Less than 5 MiB no S3 takes.
const PART: u64 = 8 << 20;
/// Most parts of an object, as S3 has it.
const PARTS: u64 = 10_000;
/// Largest content, in bytes.
pub(crate) const LARGEST: u64 = PART * PARTS;
/// Parts in memory, of all uploads.
pub(super) const IN_MEMORY: usize = 4;
/// Until a part has been sent, also over a slow line.
const SENT: Duration = Duration::from_secs(180);
/// Until parts have become an object. The bucket copies them, maybe.
const COMPLETED: Duration = Duration::from_secs(300);

impl Bucket {
    pub(super) async fn put_content(&self, finished: &Finished) -> Result<(), CacheError> {
        let size = finished.label.size;
        let path = self.0.names.numbered(Kind::Content, &finished.label.place.repository, finished.id);
        if size <= PART {
            let _memory = self.0.memory.acquire().await;
            let content = read(finished, 0).await?;
            return self.ask("save", SENT, self.0.s3.put(&path, content)).await.map(drop);
        }
        let upload = self.quick("begin an upload", self.0.s3.create_multipart(&path)).await?;
        let begun = Begun { object: path.to_string(), upload };
        let sent = match self.0.journal.begin(finished.id, &begun) {
            Ok(()) => self.put_parts(&path, &begun.upload, finished).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => self.0.journal.end(finished.id),
            Err(_) => self.abort(finished.id, Left { begun, was_aborted: false }).await,
        }
        sent
    }

    async fn put_parts(&self, path: &Path, upload: &String, finished: &Finished) -> Result<(), CacheError> {
        let parts = futures_util::stream::iter(0..finished.label.size.div_ceil(PART)).map(async |number| {
            let _memory = self.0.memory.acquire().await;
            let content = read(finished, number).await?;
            let index = usize::try_from(number).unwrap_or(usize::MAX);
            let part = self.ask("save", SENT, self.0.s3.put_part(path, upload, index, content)).await?;
            fail::fail_point!("cache::part-is-sent");
            Ok::<PartId, CacheError>(part)
        });
        let parts = parts.buffered(IN_MEMORY).try_collect().await?;
        let complete = self.0.s3.complete_multipart(path, upload, parts);
        self.ask("save", COMPLETED, complete).await.map(drop)
    }

    /// Gives an upload up. What the bucket does not hear now is said again later, and so is what it hears: a part that is on its way to
    /// it meanwhile may stay otherwise
    /// ([AbortMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html)).
    async fn abort(&self, id: EntryId, left: Left) {
        let Left { begun, was_aborted } = left;
        let Ok(path) = Path::parse(&begun.object) else { return self.0.journal.end(id) };
        let aborted = match self.quick("end an upload", self.0.s3.abort_multipart(&path, &begun.upload)).await
        {
            Err(CacheError::NotFound(_)) => return self.0.journal.end(id),
            Ok(()) if was_aborted => return self.0.journal.end(id),
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, object = begun.object, "an upload to the bucket is still open");
                was_aborted
            }
        };
        self.left().push((id, Left { begun, was_aborted: aborted }));
    }

    /// Ends what was begun here and given up, or left by servers that were killed.
    pub(crate) async fn abort_left(&self) {
        let left = std::mem::take(&mut *self.left());
        for (id, left) in left {
            self.abort(id, left).await;
        }
    }
}

/// A part of the content, from the file.
async fn read(finished: &Finished, number: u64) -> Result<PutPayload, CacheError> {
    let (file, path) = (finished.file.clone(), finished.path.clone());
    let at = number * PART;
    let len = finished.label.size.saturating_sub(at).min(PART);
    blocking(move || {
        let mut content = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut content, at).map_err(CacheError::io("read", &path))?;
        Ok(PutPayload::from(content))
    })
    .await
}
