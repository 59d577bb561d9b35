//! Following a log while it is written.

use std::pin::pin;

use crate::common::*;
use fireactions_model::{Forge, JobId, Output, Stream};
use futures::{StreamExt, TryStreamExt};
use tokio::time::timeout;

fn output(offset: usize, text: &str) -> Output {
    Output { offset: offset as u64, stream: Stream::Stdout, data: text.as_bytes().to_vec() }
}

#[tokio::test]
async fn a_follower_from_the_queue_on_hears_all_until_the_end() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, _store, _events) = forge(temp.path()).await;
    let pool = pool("p", "");
    let job = submit(&forge, "").await;
    let (first, mut heard) = tokio::sync::mpsc::channel(1);
    let follower = tokio::spawn({
        let stream = forge.follow_log(&job.id, 0);
        async move {
            let mut stream = std::pin::pin!(stream);
            let mut text = Vec::new();
            while let Some(record) = stream.next().await {
                text.extend(record.unwrap().data);
                let _ = first.try_send(());
            }
            String::from_utf8(text).unwrap()
        }
    });
    forge.acquire(&offer(1, &pool)).await.unwrap();
    let mut expected = String::new();
    for n in 0..500 {
        let line = format!("line {n}\n");
        forge.output(&job.id, &machine(1), output(expected.len(), &line)).await.unwrap();
        expected.push_str(&line);
        if n == 0 {
            // Live: heard before the job ends.
            timeout(SOON, heard.recv()).await.unwrap().unwrap();
        }
    }
    forge.finished(&job.id, &machine(1), &lost()).await.unwrap();
    forge.acquire(&offer(2, &pool)).await.unwrap();
    forge.output(&job.id, &machine(2), output(0, "again")).await.unwrap();
    assert!(!follower.is_finished(), "a retried job is not at its end");
    forge.finished(&job.id, &machine(2), &exited(0)).await.unwrap();
    let text = timeout(SOON, follower).await.unwrap().unwrap();
    assert!(text.starts_with(&expected));
    assert!(text.ends_with("again"));
    assert!(text.contains("attempt 2 starts"));

    // Afterwards, from any record on, and to its end at once.
    let all: Vec<_> = timeout(SOON, forge.follow_log(&job.id, 0).try_collect()).await.unwrap().unwrap();
    assert_eq!(all.len(), 502);
    let rest: Vec<_> =
        timeout(SOON, forge.follow_log(&job.id, all[499].next).try_collect()).await.unwrap().unwrap();
    assert_eq!(rest, all[500..]);
}

#[tokio::test]
async fn jobs_without_output_or_existence_end_the_stream() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, store, _events) = forge(temp.path()).await;
    let job = submit(&forge, "").await;
    let mut follower = pin!(forge.follow_log(&job.id, 0).try_collect::<Vec<_>>());
    waits(&store, follower.as_mut()).await;
    forge.cancel(&job.id).await.unwrap();
    assert_eq!(timeout(SOON, follower).await.unwrap().unwrap(), []);
    let unknown = forge.follow_log(&JobId::from_random([7; 8]), 0).try_collect::<Vec<_>>();
    assert_eq!(timeout(SOON, unknown).await.unwrap().unwrap(), []);
}
