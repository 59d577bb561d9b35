//! How much there may be, and what goes first.

use std::time::Duration;

use fireactions_cache::Cleaned;
use serde_json::json;

use super::super::ON;
use crate::common::*;

const DAY: Duration = Duration::from_secs(86_400);

async fn keys(job: &Job, keys: &[&str]) -> Vec<bool> {
    let mut found = Vec::new();
    for key in keys {
        found.push(job.find(&[key]).await.is_some_and(|(matched, _)| matched == *key));
    }
    found
}

#[tokio::test]
async fn a_repository_keeps_what_was_used_last() {
    let Some(world) = World::with(ON, |limits| limits.repository = 1000).await else { return };
    let [job, other] =
        [(1, "o/r"), (2, "o/other")].map(|(number, repository)| world.main_job(number, repository));
    other.save("theirs", &[0; 900]).await;
    for key in ["a", "b", "c"] {
        job.save(key, &[0; 300]).await;
        world.clock.pass(DAY / 24);
    }
    job.restore("a").await.unwrap();
    world.clock.pass(DAY / 24);
    job.save("d", &[0; 500]).await;
    assert_eq!(keys(&job, &["a", "b", "c", "d"]).await, [true, false, false, true]);
    assert_eq!(world.cache.stats().evicted, 2);
    let address = job.create("large").await;
    job.put(&address, "", &[0; 1001]).await.refuses(413, "larger than the limit of 1000 bytes");
    assert!(other.restore("theirs").await.is_some());
    assert_eq!(world.stored().await, 3);
}

#[tokio::test]
async fn the_host_keeps_what_was_used_last() {
    let Some(world) = World::with(ON, |limits| (limits.repository, limits.total) = (1000, 1500)).await else {
        return;
    };
    let [one, two] = [(1, "o/1"), (2, "o/2")].map(|(number, repository)| world.main_job(number, repository));
    one.save("a", &[0; 500]).await;
    world.clock.pass(DAY / 24);
    one.save("b", &[0; 400]).await;
    world.clock.pass(DAY / 24);
    one.restore("a").await.unwrap();
    world.clock.pass(DAY / 24);
    two.save("c", &[0; 900]).await;
    assert_eq!(keys(&one, &["a", "b"]).await, [true, false]);
    // Uploads alone do not take what a repository may have, and are refused before entries of others go.
    let [first, second] = [two.create("d").await, two.create("e").await];
    assert_eq!(two.put(&first, "", &[0; 600]).await.status, 201);
    two.put(&second, "", &[0; 600]).await.refuses(507, "no room for 600 more bytes");
    assert_eq!(world.cache.stats().errors, 0);
}

#[tokio::test]
async fn what_nobody_uses_goes_whatever_the_clock_says() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    job.save("old", b"old").await;
    world.clock.pass(DAY * 5);
    job.save("new", b"new").await;
    // Somebody sets the clock, by years.
    for step in [10 * 365, -20 * 365, 10 * 365] {
        world.clock.step(step * 86_400);
        world.cache.sweep();
        assert_eq!(world.cache.entries().len(), 2);
    }
    world.clock.pass(DAY * 3);
    world.cache.sweep();
    assert_eq!(keys(&job, &["old", "new"]).await, [false, true]);
    world.clock.pass(DAY * 6);
    assert!(job.restore("new").await.is_some());
}

#[tokio::test]
async fn the_newest_is_what_was_saved_last_whatever_the_clock_says() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    job.save("k-1", b"1").await;
    world.clock.step(-86_400 * 30);
    job.save("k-2", b"2").await;
    assert_eq!(job.find(&["k-"]).await.unwrap().0, "k-2");
    let world = world.restart().await;
    let job = world.main_job(1, "o/r");
    job.save("k-0", b"0").await;
    assert_eq!(job.find(&["k-"]).await.unwrap().0, "k-0");
}

#[tokio::test]
async fn uploads_end_when_nothing_comes() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    let (idle, busy) = (job.create("idle").await, job.create("busy").await);
    job.put(&idle, "", b"x").await;
    world.clock.pass(Duration::from_secs(590));
    job.put(&busy, "", b"y").await;
    world.clock.pass(Duration::from_secs(20));
    world.cache.sweep();
    job.put(&idle, "", b"x").await.refuses(404, "idle for too long");
    job.finalize("idle", 1).await.refuses(404, "no open upload");
    assert_eq!(job.finalize("busy", 1).await.json()["ok"], true);
    assert_eq!(files(&world.root().join("uploads")), []);
    // Its name is free again.
    world.main_job(2, "o/r").save("idle", b"z").await;
}

#[tokio::test]
async fn a_job_has_so_many_uploads_and_requests() {
    let Some(world) = World::with(ON, |limits| (limits.uploads, limits.requests) = (3, 2)).await else {
        return;
    };
    let job = world.main_job(1, "o/r");
    for key in ["a", "b", "c"] {
        job.create(key).await;
    }
    let asked = |key: &str| json!({"key": key, "version": VERSION});
    job.twirp("CreateCacheEntry", &asked("d")).await.refuses(429, "this job has 3 uploads open already");
    job.create("a").await;
    world.main_job(2, "o/r").create("d").await;
    assert_eq!(job.finalize("a", 0).await.status, 400);

    // Two answers that nobody reads to their end.
    let content = vec![0; 32 << 20];
    world.main_job(3, "o/r").save("large", &content).await;
    let (_, address) = job.find(&["large"]).await.unwrap();
    let unread = async || job.at(reqwest::Method::GET, &address).send().await.unwrap();
    let [first, second] = [unread().await, unread().await];
    job.get(&address).await.refuses(429, "this job has too many requests open already");
    assert_eq!(first.bytes().await.unwrap().len(), content.len());
    drop(second);
    assert_eq!(world.cache.stats().errors, 0);
}

#[tokio::test]
async fn what_is_cleaned_by_hand_goes_from_the_one_used_least_lately_on() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    for key in ["old", "middle", "new"] {
        job.save(key, &[0; 100]).await;
        world.clock.pass(Duration::from_secs(100));
    }
    let keys = || {
        let mut keys: Vec<_> =
            world.cache.entries().iter().map(|entry| entry.place.key.as_str().to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(world.cache.clean(None, None), Cleaned { entries: 0, bytes: 0, left: 300 });
    assert_eq!(world.cache.clean(Some(250), None), Cleaned { entries: 1, bytes: 100, left: 200 });
    assert_eq!(keys(), ["middle", "new"]);
    assert_eq!(
        world.cache.clean(None, Some(Duration::from_secs(150))),
        Cleaned { entries: 1, bytes: 100, left: 100 }
    );
    assert_eq!(keys(), ["new"]);
    assert_eq!(world.cache.clean(Some(0), None).left, 0);
    assert_eq!(job.find(&["new"]).await, None);
}

#[tokio::test]
async fn what_was_announced_and_did_not_come_takes_no_room() {
    const KIB: usize = 1 << 10;
    let Some(world) = World::with(ON, |limits| limits.repository = 1 << 20).await else { return };
    let job = world.main_job(1, "o/r");
    let [cut_off, far] = [job.reserve("cut").await, job.reserve("far").await];
    let head = job.range(cut_off, "bytes 0-921599/*");
    let said = cut(world.begin(&head, 921_600, &vec![0; 300 * KIB]).await).await;
    assert!(!said.contains("204"), "{said}");
    // Nor does what lies before a range.
    assert_eq!(job.patch(far, "bytes 1048575-1048575/*", b"x").await.status, 204);
    job.save("k", &vec![0; 600 * KIB]).await;
    // What came counts, also of a transfer that failed.
    let address = job.create("more").await;
    job.put(&address, "", &vec![0; 800 * KIB]).await.refuses(507, "no room for 819200 more bytes");
    assert_eq!(job.put(&address, "", &vec![0; 700 * KIB]).await.status, 201);
}
