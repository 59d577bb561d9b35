//! The second version of the service, as GitHub's clients speak it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Method, header};
use serde_json::json;

use super::super::ON;
use crate::common::*;

#[tokio::test]
async fn what_is_saved_is_found_by_key_prefix_and_version() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    assert_eq!(job.find(&["deps-1"]).await, None);
    for key in ["deps-1", "deps-2", "deps-10", "other"] {
        job.save(key, key.as_bytes()).await;
    }
    assert_eq!(job.restore("deps-1").await.unwrap(), b"deps-1", "the key itself comes before what begins so");
    let found = async |keys: &[&str]| job.find(keys).await.map(|(key, _)| key);
    assert_eq!(found(&["deps-"]).await.unwrap(), "deps-10", "the newest");
    assert_eq!(found(&["none", "x", "deps-2"]).await.unwrap(), "deps-2");
    assert_eq!(found(&["none", "oth", "deps-"]).await.unwrap(), "other", "in the order of the keys");
    assert_eq!(found(&["eps-1"]).await, None);
    assert_eq!(found(&["deps-100"]).await, None);
    let asked = json!({"key": "deps-1", "version": "another"});
    assert_eq!(job.twirp("GetCacheEntryDownloadURL", &asked).await.json(), json!({"ok": false}));
    let stats = world.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.saved, stats.entries, stats.jobs), (4, 4, 4, 4, 1));
    assert_eq!((stats.received, stats.sent), (6 + 6 + 7 + 5, 6));

    // All of it outlives the server, and so do tokens of jobs that do.
    let world = world.restart().await;
    let again = world.main_job(1, "o/r");
    assert_eq!(again.token, job.token);
    assert_eq!(again.find(&["deps-"]).await.unwrap().0, "deps-10");
    assert_eq!(again.restore("other").await.unwrap(), b"other");
}

#[tokio::test]
async fn an_entry_does_not_change() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    job.save("k", b"first").await;
    let asked = json!({"key": "k", "version": VERSION});
    job.twirp("CreateCacheEntry", &asked)
        .await
        .refuses(409, "cache entry with the same key, version, and scope already exists");
    // The client of a lost answer asks for the end of its upload again.
    assert_eq!(job.finalize("k", 5).await.json()["ok"], true);
    job.finalize("k", 6).await.refuses(404, "no open upload");
    // The upload's address is worth nothing now.
    let address = job.create("k2").await;
    job.put(&address, "", b"second").await;
    job.finalize("k2", 6).await;
    job.put(&address, "", b"third!").await.refuses(404, "no open upload");
    assert_eq!(job.restore("k2").await.unwrap(), b"second");
}

#[tokio::test]
async fn blocks_come_in_any_order_and_more_than_once() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    let address = job.create("k").await;
    // "YQ==" is "a", and so on.
    let block = async |id: &str, content: &[u8]| {
        let put = job.put(&address, &format!("&comp=block&blockid={id}"), content).await;
        assert_eq!(put.status, 201, "{}", put.text());
    };
    block("Yg%3D%3D", b"BBBB").await;
    block("Yw%3D%3D", b"wrong").await;
    block("YQ%3D%3D", b"AA").await;
    block("Yw%3D%3D", b"C").await;
    block("ZA%3D%3D", b"not listed").await;
    let list = async |ids: &[&str]| {
        let ids: Vec<_> = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let ids = ids.concat();
        job.put(&address, "&comp=blocklist", format!("<BlockList>{ids}</BlockList>").as_bytes()).await
    };
    list(&["YQ==", "Zg=="]).await.refuses(400, "names a block that was not uploaded");
    assert_eq!(list(&["YQ==", "Yg=="]).await.status, 201);
    // The list comes again because its answer was lost, and then another one, with blocks of the first.
    assert_eq!(list(&["YQ==", "Yg=="]).await.status, 201);
    list(&["Yw=="]).await.refuses(400, "names a block that was not uploaded");
    block("Yw%3D%3D", b"C").await;
    assert_eq!(list(&["YQ==", "Yg==", "Yw==", "Yg=="]).await.status, 201);
    job.finalize("k", 10).await.refuses(400, "10 bytes were announced, and 11 were uploaded");
    assert_eq!(job.finalize("k", 11).await.json()["ok"], true);
    assert_eq!(job.restore("k").await.unwrap(), b"AABBBBCBBBB");
    assert_eq!(files(&world.root().join("uploads")), []);
}

#[tokio::test]
async fn parts_of_an_entry_are_sent_as_they_are_asked_for() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    job.save("k", b"0123456789").await;
    job.save("empty", b"").await;
    let (_, address) = job.find(&["k"]).await.unwrap();
    let part = async |range: &str| sent(job.at(Method::GET, &address).header(header::RANGE, range)).await;
    let middle = part("bytes=2-4").await;
    assert_eq!((middle.status.as_u16(), middle.text().as_str()), (206, "234"));
    assert_eq!(middle.headers["content-range"], "bytes 2-4/10");
    assert_eq!(part("bytes=7-").await.text(), "789");
    assert_eq!(part("bytes=-2").await.text(), "89");
    assert_eq!(part("bytes=8-99999999999").await.text(), "89");
    for wrong in ["bytes=10-", "bytes=4-2", "bytes=-0", "bytes=--5", "bytes=0-1,3-4", "x"] {
        part(wrong).await.refuses(416, "in 10 bytes");
    }
    // Azure's header is the one that counts.
    let both =
        job.at(Method::GET, &address).header(header::RANGE, "bytes=0-0").header("x-ms-range", "bytes=1-1");
    assert_eq!(sent(both).await.text(), "1");
    let head = sent(job.at(Method::HEAD, &address)).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "10");
    assert_eq!(head.headers["x-ms-blob-type"], "BlockBlob");
    assert_eq!(job.restore("empty").await.unwrap(), b"");
}

#[tokio::test]
async fn an_upload_that_is_begun_anew_is_a_new_one() {
    let Some(world) = World::new(ON).await else { return };
    let [first, second] = [1, 2].map(|number| world.main_job(number, "o/r"));
    let old = first.create("k").await;
    first.put(&old, "", b"old").await;
    // Another job does not come between, until the first one has ended.
    let asked = json!({"key": "k", "version": VERSION});
    second.twirp("CreateCacheEntry", &asked).await.refuses(409, "another job is saving");
    let new = first.create("k").await;
    first.put(&old, "", b"old").await.refuses(404, "no open upload");
    first.put(&new, "", b"new").await;
    assert_eq!(files(&world.root().join("uploads")).len(), 1);
    world.cache.end(&first.machine);
    assert_eq!(files(&world.root().join("uploads")), []);
    second.save("k", b"second").await;
    assert_eq!(second.restore("k").await.unwrap(), b"second");
}

#[tokio::test]
async fn of_many_jobs_that_save_the_same_at_once_one_does() {
    let Some(world) = World::new(ON).await else { return };
    let jobs: Vec<_> = (1..=16).map(|number| world.main_job(number, "o/r")).collect();
    let tasks: Vec<_> = jobs
        .iter()
        .cloned()
        .enumerate()
        .map(|(number, job)| {
            tokio::spawn(async move {
                let created = job.twirp("CreateCacheEntry", &json!({"key": "k", "version": VERSION})).await;
                if created.status != 200 {
                    created.refuses(409, "same key, version, and scope");
                    return None;
                }
                let content = vec![u8::try_from(number).unwrap(); 100_000];
                let address = created.json()["signed_upload_url"].as_str().unwrap().to_owned();
                job.put(&address, "", &content).await;
                assert_eq!(job.finalize("k", content.len()).await.json()["ok"], true);
                Some(content)
            })
        })
        .collect();
    let mut saved = Vec::new();
    for task in tasks {
        saved.extend(task.await.unwrap());
    }
    assert_eq!(saved.len(), 1);
    assert_eq!(jobs[3].restore("k").await.unwrap(), saved[0]);
}

/// What a process has in memory now, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Client and server are in this process; neither ever has much of it. 5 GiB in the long run.
#[tokio::test]
async fn a_large_entry_goes_through_in_little_memory() {
    const BLOCK: usize = 32 << 20;
    let blocks = if std::env::var_os("FIREACTIONS_LONG").is_some() { 160 } else { 6 };
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    job.save("warm", &[0; 1000]).await;
    let piece = bytes::Bytes::from(vec![7; 64 << 10]);
    let idle = resident();
    let mut most = 0;

    let address = job.create("k").await;
    let mut list = "<BlockList>".to_owned();
    for number in 0..blocks {
        let id = BASE64_STANDARD.encode(format!("{number:05}"));
        let pieces = (0..BLOCK / piece.len()).map(|_| Ok::<_, std::io::Error>(piece.clone()));
        let pieces: Vec<_> = pieces.collect();
        let request = job.at(Method::PUT, &format!("{address}&comp=block"));
        let request = request.query(&[("blockid", &id)]).header(header::CONTENT_LENGTH, BLOCK);
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        assert_eq!(sent(request.body(body)).await.status, 201);
        most = most.max(resident());
        list.extend(["<Latest>", &id, "</Latest>"]);
    }
    list.push_str("</BlockList>");
    assert_eq!(job.put(&address, "&comp=blocklist", list.as_bytes()).await.status, 201);
    assert_eq!(job.finalize("k", blocks * BLOCK).await.json()["ok"], true);

    let (_, address) = job.find(&["k"]).await.unwrap();
    let mut answer = job.at(Method::GET, &address).send().await.unwrap();
    let mut got = 0;
    while let Some(piece) = answer.chunk().await.unwrap() {
        got += piece.len();
        if got % 1024 == 0 {
            most = most.max(resident());
        }
    }
    assert_eq!(got, blocks * BLOCK);
    let more = most.saturating_sub(idle);
    assert!(more < 64 << 20, "{} MiB more than idle", more >> 20);
}

#[tokio::test]
async fn five_hundred_requests_at_once_are_answered() {
    let Some(world) = World::new(ON).await else { return };
    let content = vec![5; 100_000];
    world.main_job(1, "o/r").save("k", &content).await;
    let tasks: Vec<_> = (1..=500)
        .map(|number| {
            let (job, content) = (world.main_job(number, "o/r"), content.clone());
            tokio::spawn(async move { assert!(job.restore("k").await.unwrap() == content) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = world.cache.stats();
    assert_eq!((stats.hits, stats.sent, stats.errors), (500, 500 * 100_000, 0));
}
