//! A job on its way in: the specification, then its files spooled to disk, everything within bounds.
//!
//! With files the body is `application/vnd.fireactions.job`: the specification as one line of JSON, then the bytes
//! of its files one after the other. The specification says how many there are, so nothing has to be searched
//! for in hostile bytes and nothing but one chunk is ever held in memory (which multipart cannot promise).

use std::path::Path;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use fireactions_model::{InputFile, JobSpec};
use futures::StreamExt;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::extract::Json;
use super::room::{Room, Spooling};
use super::{Limits, spec};
use crate::engine::Result;
use crate::types::JOB_WITH_FILES;
use crate::{Code, Fault, Upload};

/// More of a body must come within this time; an upload as a whole has its own deadline.
const STALLED: Duration = Duration::from_secs(30);

/// A submission.
pub(crate) struct Received {
    pub(crate) spec: JobSpec,
    pub(crate) files: Vec<Upload>,
    /// The files' part of the spool.
    pub(crate) spooling: Option<Spooling>,
}

/// Reads a submission; files go into `dir`. What was spooled is removed again when anything is wrong.
pub(crate) async fn receive(request: Request, limits: &Limits, room: &Room, dir: &Path) -> Result<Received> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind != Some(JOB_WITH_FILES) {
        let reading = Json::<JobSpec>::from_request(request, &());
        let Json(spec) = timeout(limits.request, reading).await.map_err(|_| stalled())??;
        spec::check(&spec)?;
        if !spec.files.is_empty() {
            return Err(Fault::invalid("the specification names files, but there are no bytes for them")
                .hint(format!("send `{JOB_WITH_FILES}`: the specification as one line, then the files")));
        }
        return Ok(Received { spec, files: Vec::new(), spooling: None });
    }
    let mut body = Source::new(request.into_body());
    let line = body.line(limits.body).await?;
    let spec: JobSpec = serde_json::from_slice(&line)
        .map_err(|error| Fault::invalid(format!("the job's specification cannot be read: {error}")))?;
    spec::check(&spec)?;
    let total = spec.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
    if total > limits.upload {
        let most = limits.upload;
        return Err(Fault::new(Code::TooLarge, format!("the files are {total} bytes; {most} are allowed"))
            .hint("put large, permanent inputs into the image"));
    }
    let spooling = Some(room.spool(total)?);
    let mut files = Vec::with_capacity(spec.files.len());
    for file in &spec.files {
        files.push(spool(&mut body, file, dir).await?);
    }
    if body.next().await?.is_some() {
        return Err(Fault::invalid("there are more bytes than the specification's files have")
            .hint("a file may have grown while it was sent; try again"));
    }
    Ok(Received { spec, files, spooling })
}

fn stalled() -> Fault {
    Fault::new(Code::Timeout, "the upload stalled: its bytes stopped coming")
        .hint("check the network between client and server, and send it again")
}

async fn spool(body: &mut Source, wanted: &InputFile, dir: &Path) -> Result<Upload> {
    let failed = |error: std::io::Error| {
        Fault::internal(format!("cannot store the file for {} in {}: {error}", wanted.dest, dir.display()))
            .hint("check the free space and permissions of the server's state directory")
    };
    let (file, path) = NamedTempFile::new_in(dir).map_err(failed)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut missing = wanted.size;
    while missing > 0 {
        let Some(mut chunk) = body.next().await? else {
            return Err(Fault::invalid(format!(
                "{missing} bytes are missing, in the file for {}",
                wanted.dest
            ))
            .hint("a file may have shrunk while it was sent; try again"));
        };
        // A chunk may hold the end of this file and the beginning of the next.
        let here = usize::try_from(missing).unwrap_or(usize::MAX).min(chunk.len());
        body.put_back(chunk.split_off(here));
        file.write_all(&chunk).await.map_err(failed)?;
        missing -= here as u64;
    }
    // The engine takes the file by name; after a power cut a queued job must still have its bytes.
    file.sync_all().await.map_err(failed)?;
    Ok(Upload { path, size: wanted.size })
}

/// A body whose chunks can be put back in part.
struct Source {
    body: BodyDataStream,
    rest: Bytes,
}

impl Source {
    fn new(body: Body) -> Self {
        Self { body: body.into_data_stream(), rest: Bytes::new() }
    }

    fn put_back(&mut self, rest: Bytes) {
        self.rest = rest;
    }

    /// The next chunk, never empty.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        loop {
            match timeout(STALLED, self.body.next()).await.map_err(|_| stalled())? {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Ok(Some(chunk)),
                Some(Err(error)) => return Err(Fault::invalid(format!("the upload broke off: {error}"))),
                None => return Ok(None),
            }
        }
    }

    async fn line(&mut self, limit: usize) -> Result<BytesMut> {
        let mut line = BytesMut::new();
        while let Some(mut chunk) = self.next().await? {
            let end = chunk.iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let mut rest = chunk.split_off(end);
                self.put_back(rest.split_off(1));
            }
            if line.len() + chunk.len() > limit {
                return Err(Fault::new(
                    Code::TooLarge,
                    format!("the specification is larger than {limit} bytes"),
                )
                .hint("send large inputs as files of the job"));
            }
            line.extend_from_slice(&chunk);
            if end.is_some() {
                return Ok(line);
            }
        }
        Err(Fault::invalid("the specification does not end with a newline"))
    }
}
