//! A job's output, written where it belongs, across restarts of the server.

use std::io;

use anyhow::bail;
use fireactions_api::{Client, LogChunk, LogEvent};
use fireactions_model::{JobId, JobRecord, Stream};
use futures::TryStreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt, Stderr, Stdout};

/// Standard output and error. When one of them is closed, what is for it is thrown away: a job goes on even if
/// nobody reads it any more.
pub(crate) struct Sink {
    stdout: Option<Stdout>,
    stderr: Option<Stderr>,
}

impl Default for Sink {
    fn default() -> Self {
        Self { stdout: Some(tokio::io::stdout()), stderr: Some(tokio::io::stderr()) }
    }
}

impl Sink {
    async fn write(&mut self, chunk: &LogChunk) -> io::Result<()> {
        match chunk.stream {
            Stream::Stdout => write(&mut self.stdout, &chunk.data).await,
            Stream::Stderr => write(&mut self.stderr, &chunk.data).await,
        }
    }
}

async fn write(to: &mut Option<impl AsyncWrite + Unpin>, data: &[u8]) -> io::Result<()> {
    let Some(out) = to else { return Ok(()) };
    let written = match out.write_all(data).await {
        Ok(()) => out.flush().await,
        Err(error) => Err(error),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            *to = None;
            Ok(())
        }
        other => other,
    }
}

/// Writes the log as it is now.
pub(crate) async fn present(client: &Client, job: &JobId, sink: &mut Sink) -> anyhow::Result<()> {
    let mut log = client.whole_log(job);
    while let Some(event) = log.try_next().await? {
        match event {
            LogEvent::Output(chunk) => sink.write(&chunk).await?,
            LogEvent::End(_) => return Ok(()),
        }
    }
    bail!("the log of job {job} ended in the middle")
}

/// Writes the log until the job is final and gives the job. `before` is called before each piece.
pub(crate) async fn follow(
    client: &Client,
    job: &JobId,
    sink: &mut Sink,
    mut before: impl FnMut(&LogChunk),
) -> anyhow::Result<JobRecord> {
    let mut log = client.follow_job(job, 0);
    while let Some(event) = log.try_next().await? {
        match event {
            LogEvent::Output(chunk) => {
                before(&chunk);
                sink.write(&chunk).await?;
            }
            LogEvent::End(job) => return Ok(*job),
        }
    }
    bail!("the log of job {job} ended without the job's end")
}
