//! Hosts that share a bucket: what one of them saves, the others find; and a bucket that fails.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fireactions_cache::{Cache, Grant, Options, S3};
use fireactions_model::Secret;
use fireactions_testkit::real_s3::{self, RealS3};
use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3Builder;
use serde_json::json;

use crate::common::*;

const DAY: Duration = Duration::from_secs(86_400);
/// What jobs are told.
const AWAY: &str = "the bucket of the host's cache does not answer";
/// For what comes soon, on a busy host.
const SOON: Duration = Duration::from_secs(60);

async fn two_hosts() -> Option<(Arc<RealS3>, World, World)> {
    let s3 = bucket()?;
    let (one, other) = (World::of_bucket(&s3, |_| {}).await, World::of_bucket(&s3, |_| {}).await);
    Some((s3, one, other))
}

#[tokio::test]
async fn what_one_host_saves_the_others_find_at_once() {
    let Some((_s3, one, other)) = two_hosts().await else { return };
    let (here, there) = (one.main_job(1, "o/r"), other.main_job(2, "o/r"));
    assert_eq!(there.find(&["deps-1"]).await, None);
    here.save("deps-1", b"first").await;
    assert_eq!(there.restore("deps-1").await.unwrap(), b"first");
    // The newest, whichever host saved it.
    there.save("deps-2", b"second").await;
    here.save("deps-0", b"third").await;
    assert_eq!(there.find(&["deps-"]).await.unwrap().0, "deps-0");
    assert_eq!(here.find(&["none", "deps-"]).await.unwrap().0, "deps-0");
    // Who may see what is the same everywhere.
    assert_eq!(other.main_job(3, "o/other").find(&["deps-1"]).await, None);
    other.job(4, pull("o/r", 7)).save("pulled", b"of a pull request").await;
    assert_eq!(here.find(&["pulled"]).await, None);
    assert_eq!(one.job(5, pull("o/r", 7)).restore("pulled").await.unwrap(), b"of a pull request");
    // A part of it, too.
    let (_, address) = here.find(&["deps-2"]).await.unwrap();
    let part = here.at(reqwest::Method::GET, &address).header("range", "bytes=1-3");
    assert_eq!(sent(part).await.text(), "eco");
}

#[tokio::test]
async fn what_a_job_saved_for_itself_stays_on_its_host() {
    let Some((s3, one, other)) = two_hosts().await else { return };
    let alone = one.job(1, Grant::alone(&machine(1)));
    alone.save("key", b"its own").await;
    assert_eq!(alone.restore("key").await.unwrap(), b"its own");
    assert_eq!(s3.objects("shared/ci/v1/content/"), [""; 0]);
    // Another host has no such job, and removes nothing for that.
    other.cache.tend().await.unwrap();
    other.cache.sweep();
    assert_eq!(alone.restore("key").await.unwrap(), b"its own");
}

#[tokio::test]
async fn of_two_hosts_that_save_the_same_one_does() {
    let Some((s3, one, other)) = two_hosts().await else { return };
    let (here, there) = (one.main_job(1, "o/r"), other.main_job(2, "o/r"));
    let (first, second) = (here.create("k").await, there.create("k").await);
    here.put(&first, "", b"first").await;
    there.put(&second, "", b"other").await;
    let (first, second) = tokio::join!(here.finalize("k", 5), there.finalize("k", 5));
    let (content, lost) = if first.status == 200 { (b"first", second) } else { (b"other", first) };
    lost.refuses(409, "cache entry with the same key, version, and scope already exists");
    for job in [&here, &there] {
        assert_eq!(job.restore("k").await.unwrap(), content);
        job.twirp("CreateCacheEntry", &json!({"key": "k", "version": VERSION}))
            .await
            .refuses(409, "already exists");
    }
    // What lost is gone.
    for world in [&one, &other] {
        world.cache.tend().await.unwrap();
        assert_eq!(files(&world.root().join("uploads")), []);
    }
    assert_eq!(s3.objects("shared/ci/v1/content/").len(), 1);
}

#[tokio::test]
async fn what_one_host_removes_is_gone_everywhere_and_may_be_saved_anew() {
    let Some((s3, one, other)) = two_hosts().await else { return };
    let (here, there) = (one.main_job(1, "o/r"), other.main_job(2, "o/r"));
    here.save("k", b"first").await;
    let (_, address) = there.find(&["k"]).await.unwrap();
    assert_eq!(one.cache.clean(Some(0), None).entries, 1);
    one.cache.tend().await.unwrap();
    there.get(&address).await.refuses(404, "there is no cache entry here");
    assert_eq!(there.find(&["k"]).await, None);
    there.save("k", b"anew").await;
    assert_eq!(here.restore("k").await.unwrap(), b"anew");
    // The first host has it on its list by its old number no more.
    assert_eq!(one.cache.clean(None, Some(DAY)).entries, 0);
    assert_eq!(s3.objects("shared/ci/v1/content/").len(), 1);
}

#[tokio::test]
async fn what_any_host_used_last_stays() {
    let Some(s3) = bucket() else { return };
    let limits = |limits: &mut fireactions_cache::Limits| limits.repository = 1000;
    let (one, other) = (World::of_bucket(&s3, limits).await, World::of_bucket(&s3, limits).await);
    let (here, there) = (one.main_job(1, "o/r"), other.main_job(2, "o/r"));
    for key in ["a", "b", "c"] {
        here.save(key, &[0; 300]).await;
        one.clock.pass(DAY / 24);
    }
    there.restore("a").await.unwrap();
    let noted = async {
        while s3.objects("shared/ci/v1/used/").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, noted).await.expect("the use is noted");
    here.save("d", &[0; 300]).await;
    let mut left: Vec<_> =
        one.cache.entries().iter().map(|entry| entry.place.key.as_str().to_owned()).collect();
    left.sort();
    assert_eq!(left, ["a", "c", "d"]);
    // And all hosts keep to the limit together.
    there.save("e", &[0; 300]).await;
    other.cache.tend().await.unwrap();
    one.cache.tend().await.unwrap();
    assert_eq!(one.cache.stats().bytes, 900);
    assert_eq!(s3.objects("shared/ci/v1/content/").len(), 3);
}

#[tokio::test]
async fn while_the_bucket_is_away_jobs_are_told_so_and_go_on() {
    let Some(s3) = bucket() else { return };
    let world = World::of_bucket(&s3, |_| {}).await;
    let job = world.main_job(1, "o/r");
    let alone = world.job(2, Grant::alone(&machine(2)));
    job.save("k", b"content").await;
    let (_, address) = job.find(&["k"]).await.unwrap();
    let begun = job.create("begun").await;
    assert_eq!(world.cache.problem(), None);

    let cache = &world.cache;
    s3.kill();
    let asked = json!({"key": "k", "version": VERSION});
    job.twirp("GetCacheEntryDownloadURL", &asked).await.refuses(503, AWAY);
    job.twirp("CreateCacheEntry", &json!({"key": "new", "version": VERSION})).await.refuses(503, AWAY);
    job.get(&address).await.refuses(503, AWAY);
    assert_eq!(job.put(&begun, "", b"goes on").await.status, 201);
    job.finalize("begun", 7).await.refuses(503, AWAY);
    assert!(cache.problem().unwrap().starts_with("the bucket of the cache cannot "), "{:?}", cache.problem());
    // What needs no bucket has none.
    alone.save("own", b"its own").await;
    assert_eq!(alone.restore("own").await.unwrap(), b"its own");
    assert_eq!(files(&world.root().join("uploads")), []);
    assert!(cache.stats().errors >= 4);

    s3.resume();
    let again = async {
        while cache.tend().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, again).await.expect("it is asked again");
    assert_eq!(cache.problem(), None);
    assert_eq!(job.restore("k").await.unwrap(), b"content");
    job.save("begun", b"again").await;
}

#[tokio::test]
async fn what_is_no_entry_of_its_place_is_not_used() {
    let Some((s3, one, other)) = two_hosts().await else { return };
    one.main_job(1, "o/r").save("mine", b"mine").await;
    one.main_job(2, "o/other").save("theirs", b"theirs").await;
    let entries = s3.objects("shared/ci/v1/entries/");
    let of = |repository: &str| {
        let id =
            one.cache.entries().into_iter().find(|entry| entry.place.repository.0 == repository).unwrap().id;
        entries
            .iter()
            .find(|name| std::fs::read_to_string(s3.object(name)).unwrap().contains(&format!("\"id\":{id},")))
            .unwrap()
    };
    let (mine, theirs) = (of("o/r"), of("o/other"));
    // Somebody copies an entry to where another repository's are, and writes what is none.
    let stolen = format!("{}/{}", theirs.rsplit_once('/').unwrap().0, mine.rsplit_once('/').unwrap().1);
    put(&s3, &stolen, &std::fs::read(s3.object(mine)).unwrap()).await;
    put(&s3, &format!("{}0", &stolen[..stolen.len() - 1]), b"{").await;
    let job = other.main_job(3, "o/other");
    assert_eq!(job.find(&["mine"]).await, None);
    assert_eq!(job.restore("theirs").await.unwrap(), b"theirs");
    // An entry whose content somebody removed is none, and its name is free.
    for name in s3.objects("shared/ci/v1/content/") {
        std::fs::remove_file(s3.object(&name)).unwrap();
    }
    let (_, address) = job.find(&["theirs"]).await.unwrap();
    job.get(&address).await.refuses(404, "there is no cache entry here");
    other.cache.tend().await.unwrap();
    assert_eq!(job.find(&["theirs"]).await, None);
    job.save("theirs", b"again").await;
}

/// Content of a host that was killed before it was an entry.
#[tokio::test]
async fn what_belongs_to_no_entry_goes_after_a_day() {
    let Some(s3) = bucket() else { return };
    let world = World::of_bucket(&s3, |_| {}).await;
    let job = world.main_job(1, "o/r");
    job.save("k", b"content").await;
    let content = s3.objects("shared/ci/v1/content/").pop().unwrap();
    let dir = content.rsplit_once('/').unwrap().0;
    let (old, new) = (format!("{dir}/00000000000000aa"), format!("{dir}/00000000000000bb"));
    for name in [&old, &new] {
        put(&s3, name, b"no entry").await;
    }
    let long_ago = SystemTime::now() - DAY * 2;
    for name in [&old, &content] {
        File::options().write(true).open(s3.object(name)).unwrap().set_modified(long_ago).unwrap();
    }
    world.cache.tend().await.unwrap();
    let mut left = s3.objects("shared/ci/v1/content/");
    left.sort();
    let mut expected = vec![new, content];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(job.restore("k").await.unwrap(), b"content");
}

#[tokio::test]
async fn a_bucket_with_a_certificate_of_ones_own_authority_is_trusted_when_that_is_named() {
    let Some(program) = real_s3::available("bucket::a_bucket_with_a_certificate") else { return };
    let s3 = Arc::new(RealS3::start_with_tls(&program));
    let world = World::of_bucket(&s3, |_| {}).await;
    let job = world.main_job(1, "o/r");
    job.save("k", b"content").await;
    assert_eq!(job.restore("k").await.unwrap(), b"content");
    let wrong = |change: fn(&mut S3)| {
        let mut bucket = client(&s3);
        change(&mut bucket);
        let dir = tempfile::tempdir().unwrap();
        let options = Options { bucket: Some(bucket), ..Options::new(dir.path(), "http://x") };
        (dir, Cache::open(options).unwrap())
    };
    for (change, words) in [
        ((|s3| s3.ca = None) as fn(&mut S3), "certificate"),
        (|s3| s3.secret_access_key = Secret::new("another one".to_owned()), "SignatureDoesNotMatch"),
        (|s3| s3.bucket = "nobodys".to_owned(), "NoSuchBucket"),
    ] {
        let (_dir, cache) = wrong(change);
        let error = cache.tend().await.unwrap_err().to_string();
        assert!(error.starts_with("the bucket of the cache cannot") && error.contains(words), "{error}");
        assert!(!error.contains(real_s3::SECRET) && !format!("{cache:?}").contains(real_s3::SECRET));
    }
}

/// Writes an object as somebody would who has the bucket's keys.
async fn put(s3: &RealS3, name: &str, content: &[u8]) {
    let bucket = AmazonS3Builder::new()
        .with_bucket_name(real_s3::BUCKET)
        .with_endpoint(format!("{}/{}", s3.endpoint(), real_s3::BUCKET))
        .with_region(real_s3::REGION)
        .with_access_key_id(real_s3::KEY_ID)
        .with_secret_access_key(real_s3::SECRET)
        .with_allow_http(true)
        .with_virtual_hosted_style_request(true)
        .build()
        .unwrap();
    bucket.put(&name.into(), content.to_vec().into()).await.unwrap();
}
