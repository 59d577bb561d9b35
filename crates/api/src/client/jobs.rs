//! `/api/v1/jobs`.

use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fireactions_model::{FileKind, JobId, JobRecord, JobSpec};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Body;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{Client, ClientError, ClientStream, Result, sse};
use crate::{JOB_WITH_FILES, JobFilter, LogChunk, LogEnd};

/// Until a submission with files is through; the server has its own, shorter deadline.
const UPLOAD: Duration = Duration::from_secs(2400);

/// What a followed log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// A piece of output.
    Output(LogChunk),
    /// The log is complete; the job's current state.
    End(Box<JobRecord>),
}

impl Client {
    /// Jobs, newest first.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>> {
        self.json(self.get("/api/v1/jobs").query(filter)).await
    }

    /// Queues a job. `files` are the local files, directories and symbolic links that go with `spec.files`, in the same order.
    pub async fn submit(&self, spec: &JobSpec, files: &[impl AsRef<Path>]) -> Result<JobRecord> {
        let request = self.post("/api/v1/jobs");
        if files.is_empty() {
            return self.json(request.json(spec)).await;
        }
        let mut line = serde_json::to_vec(spec)
            .map_err(|error| self.protocol(format!("this job cannot be written as JSON: {error}")))?;
        line.push(b'\n');
        let mut length = line.len() as u64;
        let mut parts: Vec<ClientPart> = vec![stream::iter([Ok(Bytes::from(line))]).boxed()];
        for (file, wanted) in files.iter().zip(&spec.files) {
            let path = file.as_ref();
            let failed = |source| ClientError::File { path: path.to_owned(), source };
            length = length.saturating_add(wanted.size);
            parts.push(match FileKind::of(wanted.mode) {
                Some(FileKind::Directory) => continue,
                Some(FileKind::Link) => {
                    let target = std::fs::read_link(path).map_err(failed)?.into_os_string().into_vec();
                    stream::iter([Ok(Bytes::from(target))]).boxed()
                }
                // Opened one after the other, while the body is sent: a job may bring thousands of files.
                Some(FileKind::File) | None => {
                    std::fs::metadata(path).map_err(failed)?;
                    part(path.to_owned(), wanted.size)
                }
            });
        }
        let body = Body::wrap_stream(stream::iter(parts).flatten());
        let request = request
            .header(CONTENT_TYPE, JOB_WITH_FILES)
            .header(CONTENT_LENGTH, length)
            .body(body)
            .timeout(UPLOAD);
        let answer = self.send(request).await?;
        self.decode(answer).await
    }

    /// One job.
    pub async fn job(&self, id: &JobId) -> Result<JobRecord> {
        self.json(self.get(&format!("/api/v1/jobs/{id}"))).await
    }

    /// Asks for a job's end.
    pub async fn cancel(&self, id: &JobId) -> Result<JobRecord> {
        self.json(self.post(&format!("/api/v1/jobs/{id}/cancel"))).await
    }

    /// A job's output from a position on. With `follow` it ends with [`LogEvent::End`] when the job is final; an end
    /// without it means that the server closed, and that the caller should ask again.
    pub async fn job_log(&self, id: &JobId, from: u64, follow: bool) -> Result<ClientStream<LogEvent>> {
        let path = format!("/api/v1/jobs/{id}/log/events?from={from}&follow={follow}");
        let answer = self.send(self.get(&path)).await?;
        let client = self.clone();
        let events = sse::read(self, answer).try_filter_map(move |message| {
            let unreadable = |error| client.protocol(format!("a log event that cannot be read: {error}"));
            let event = match message.name.as_str() {
                "output" => serde_json::from_str(&message.data).map(|chunk| Some(LogEvent::Output(chunk))),
                "end" => {
                    serde_json::from_str::<LogEnd>(&message.data).map(|end| Some(LogEvent::End(end.job)))
                }
                _ => Ok(None),
            };
            std::future::ready(event.map_err(unreadable))
        });
        Ok(events.boxed())
    }

    /// The end of what a service of the job's machine has written.
    pub async fn service_log(&self, id: &JobId, service: &str) -> Result<ClientStream<Bytes>> {
        let answer = self.send(self.get(&format!("/api/v1/jobs/{id}/services/{service}/log"))).await?;
        Ok(self.bytes(answer))
    }

    /// The tar archive of an artifact.
    pub async fn artifact(&self, id: &JobId, index: usize) -> Result<ClientStream<Bytes>> {
        let answer = self.send(self.get(&format!("/api/v1/jobs/{id}/artifacts/{index}"))).await?;
        Ok(self.bytes(answer))
    }
}

type ClientPart = stream::BoxStream<'static, std::io::Result<Bytes>>;

/// A file's bytes, no more than its declared size (the server says if there are fewer).
fn part(path: std::path::PathBuf, size: u64) -> ClientPart {
    stream::once(async move {
        let file = File::open(&path).await?;
        Ok::<_, std::io::Error>(ReaderStream::with_capacity(file.take(size), 64 * 1024))
    })
    .try_flatten()
    .boxed()
}
