//! A job's output, written where it belongs, across restarts of the server.

use std::io;
use std::time::{Duration, Instant};

use fireactions_api::{Client, ClientError, LogChunk, LogEvent};
use fireactions_model::{JobId, JobRecord, Stream};
use futures::TryStreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt, Stderr, Stdout};

/// A server that restarts is waited for this long.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two tries, doubled each time up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(200);
const SLOWEST: Duration = Duration::from_secs(5);

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
    let mut log = client.job_log(job, 0, false).await?;
    while let Some(event) = log.try_next().await? {
        if let LogEvent::Output(chunk) = event {
            sink.write(&chunk).await?;
        }
    }
    Ok(())
}

/// Writes the log until the job is final and gives the job. `before` is called before each piece.
pub(crate) async fn follow(
    client: &Client,
    job: &JobId,
    sink: &mut Sink,
    mut before: impl FnMut(&LogChunk),
) -> anyhow::Result<JobRecord> {
    let mut from = 0;
    let mut pause = FIRST;
    let mut since: Option<Instant> = None;
    loop {
        let error = match client.job_log(job, from, true).await {
            Ok(mut log) => loop {
                match log.try_next().await {
                    Ok(Some(LogEvent::Output(chunk))) => {
                        before(&chunk);
                        sink.write(&chunk).await?;
                        from = chunk.next;
                        (pause, since) = (FIRST, None);
                    }
                    Ok(Some(LogEvent::End(job))) => return Ok(*job),
                    // The server closes, or was too busy: it goes on where this ended.
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            },
            Err(error) => Some(error),
        };
        let waited = since.get_or_insert_with(Instant::now).elapsed();
        let hopeless = error.as_ref().is_some_and(|error| !error.is_transient()) || waited > PATIENCE;
        if hopeless {
            return Err(error.map_or_else(|| gave_up(client), Into::into));
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.7..1.3))).await;
        pause = (pause * 2).min(SLOWEST);
    }
}

fn gave_up(client: &Client) -> anyhow::Error {
    let message = "it closed the log again and again".to_owned();
    ClientError::Broken { target: client.target().clone(), message }.into()
}
