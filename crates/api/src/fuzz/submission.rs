//! Any bytes as a job with its files, in any pieces: it is all there, or refused and nothing is left of it.

use std::path::Path;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use futures::stream;

use super::presentable;
use crate::server::room::Room;
use crate::server::{spec, upload};
use crate::{JOB_WITH_FILES, Limits};

/// Bounds that small inputs can reach.
const LIMITS: (usize, u64) = (2048, 1024);

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    static DIR: tempfile::TempDir = tempfile::tempdir().unwrap();
}

/// The first byte says how it is sent, the second the size of the pieces. True when it was accepted.
pub fn submission(data: &[u8]) -> bool {
    let [how, step, body @ ..] = data else { return false };
    let kind = if how % 4 == 0 { "application/json" } else { JOB_WITH_FILES };
    RUNTIME
        .with(|runtime| DIR.with(|dir| runtime.block_on(submit(kind, usize::from(*step), body, dir.path()))))
}

async fn submit(kind: &str, step: usize, body: &[u8], dir: &Path) -> bool {
    let pieces: Vec<_> = body.chunks(step.max(1)).map(Bytes::copy_from_slice).collect();
    let broken_off = (step == 255).then(|| std::io::Error::other("the client went away"));
    let pieces = pieces.into_iter().map(Ok).chain(broken_off.map(Err));
    let request =
        Request::builder().header(CONTENT_TYPE, kind).body(Body::from_stream(stream::iter(pieces))).unwrap();
    let limits = Limits { body: LIMITS.0, upload: LIMITS.1, ..Limits::default() };
    let spooled = || std::fs::read_dir(dir).unwrap().count();
    let accepted = match upload::receive(request, &limits, &Room::new(&limits), dir).await {
        Ok(upload::Received { spec: job, files, .. }) => {
            spec::check(&job).expect("what is accepted was checked");
            assert_eq!(files.len(), job.files.len());
            assert_eq!(spooled(), files.len());
            let mut bytes = Vec::new();
            for (file, wanted) in files.iter().zip(&job.files) {
                let content = std::fs::read(&file.path).unwrap();
                assert_eq!((content.len() as u64, file.size), (wanted.size, wanted.size));
                bytes.extend(content);
            }
            assert!(bytes.len() as u64 <= LIMITS.1);
            if kind == JOB_WITH_FILES {
                let line = body.iter().position(|byte| *byte == b'\n').expect("the specification's line");
                assert!(line <= LIMITS.0);
                assert_eq!(bytes, body[line + 1..]);
            } else {
                assert!(files.is_empty());
            }
            true
        }
        Err(fault) => {
            presentable(&fault);
            false
        }
    };
    assert_eq!(spooled(), 0, "something is left");
    accepted
}
