//! A process killed with -9 where an entry comes to be: afterwards it is there whole or not at all, and nothing is left.
#![cfg(feature = "failpoints")]

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use fireactions_cache::{Cache, Options};

use crate::common::*;

const DIR: &str = "FIREACTIONS_TEST_CACHE_DIR";
/// Of the bucket.
const ENDPOINT: &str = "FIREACTIONS_TEST_CACHE_ENDPOINT";
const POINT: &str = "FIREACTIONS_TEST_POINT";
/// More than two parts, in bytes.
const LARGE: usize = 20 << 20;
const CONTENT: &[u8] = b"AAAABBBB";

/// Saves in a process of its own, which kills itself at `point`.
fn killed(child: &str, dir: &Path, point: &str, endpoint: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("killed::{child}"), "--ignored", "--nocapture"])
        .env("TMPDIR", dir)
        .env(ENDPOINT, endpoint)
        .env(DIR, dir)
        .env(POINT, point)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "it does not come by {point}: {said}");
}

#[tokio::test]
#[ignore = "run by the tests here, and kills itself"]
async fn child_that_kills_itself() {
    let [dir, point] = [DIR, POINT].map(|name| std::env::var(name).unwrap());
    let world = World::of_files().await;
    // Where the parent looks.
    std::os::unix::fs::symlink(world.root(), Path::new(&dir).join("root")).unwrap();
    let job = world.main_job(1, "o/r");
    job.save("before", b"before").await;
    kill_at(&point);
    let address = job.create("k").await;
    // Out of order, so that it is put in order.
    for (id, content) in [("Yg%3D%3D", &CONTENT[4..]), ("YQ%3D%3D", &CONTENT[..4])] {
        job.put(&address, &format!("&comp=block&blockid={id}"), content).await;
    }
    fail::fail_point!("cache::uploaded");
    let list = b"<BlockList><Latest>YQ==</Latest><Latest>Yg==</Latest></BlockList>";
    job.put(&address, "&comp=blocklist", list).await;
    job.finalize("k", CONTENT.len()).await;
}

fn kill_at(point: &str) {
    fail::cfg_callback(point, || {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    })
    .unwrap();
}

#[tokio::test]
#[ignore = "run by a_host_that_is_killed_leaves_no_half_entry_in_the_bucket, and kills itself"]
async fn child_that_kills_itself_on_the_way_to_the_bucket() {
    let [dir, point, endpoint] = [DIR, POINT, ENDPOINT].map(|name| std::env::var(name).unwrap());
    let world = World::of_client(client_of(endpoint)).await;
    std::os::unix::fs::symlink(world.root(), Path::new(&dir).join("root")).unwrap();
    let job = world.main_job(1, "o/r");
    job.save("before", b"before").await;
    kill_at(&point);
    let address = job.create("k").await;
    // So much that it goes in parts.
    let content = vec![7; LARGE];
    job.put(&address, "", &content).await;
    job.finalize("k", content.len()).await;
}

#[tokio::test]
async fn a_host_that_is_killed_leaves_no_half_entry_in_the_bucket() {
    let Some(s3) = bucket() else { return };
    let points = [("part-is-sent", false, 1), ("before-card", false, 2), ("after-card", true, 2)];
    for (number, (point, exists, contents)) in points.into_iter().enumerate() {
        let temp = tempfile::tempdir().unwrap();
        let child = "child_that_kills_itself_on_the_way_to_the_bucket";
        killed(child, temp.path(), &format!("cache::{point}"), &s3.endpoint());
        // It may still be taking a part that was on its way.
        s3.kill();
        s3.resume();
        // What the server has of uploads that are no objects yet.
        let parts = || s3.objects(".sgwtmp/").len();
        assert_eq!(parts() > 0, point == "part-is-sent", "killed at {point}");
        let root = fs::canonicalize(temp.path().join("root")).unwrap();
        let cache =
            Cache::open(Options { bucket: Some(client(&s3)), ..Options::new(&root, "http://x") }).unwrap();
        cache.tend().await.unwrap();
        if point == "part-is-sent" {
            assert_eq!(
                files(&root.join("bucket")).len(),
                1,
                "it is ended once more, for parts that come late"
            );
        }
        cache.tend().await.unwrap();
        assert_eq!(parts(), 0, "killed at {point}: {:?}", s3.objects(".sgwtmp/"));
        assert_eq!(files(&root.join("uploads")), [], "killed at {point}");
        assert_eq!(files(&root.join("bucket")), [], "killed at {point}");
        assert_eq!(s3.objects("shared/ci/v1/content/").len(), contents, "killed at {point}");

        let world = World::of_bucket(&s3, |_| {}).await;
        let job = world.main_job(number as u64, "o/r");
        assert_eq!(job.restore("before").await.unwrap(), b"before");
        assert_eq!(job.restore("k").await, exists.then(|| vec![7; LARGE]), "killed at {point}");
        if !exists {
            job.save("k", b"again").await;
        }
        world.cache.clean(Some(0), None);
        world.cache.tend().await.unwrap();
        for name in s3.objects("shared/ci/v1/content/") {
            fs::remove_file(s3.object(&name)).unwrap();
        }
    }
}

#[tokio::test]
async fn an_entry_is_there_whole_or_not_at_all() {
    let points = [
        ("uploaded", false),
        ("before-seal", false),
        ("after-seal", false),
        ("before-rename", false),
        ("after-rename", true),
    ];
    for (point, exists) in points {
        let temp = tempfile::tempdir().unwrap();
        killed("child_that_kills_itself", temp.path(), &format!("cache::{point}"), "");
        let root = fs::canonicalize(temp.path().join("root")).unwrap();
        let cache = Cache::open(Options::new(&root, "http://x")).unwrap();
        let mut keys: Vec<_> =
            cache.entries().iter().map(|entry| entry.place.key.as_str().to_owned()).collect();
        keys.sort();
        let expected: &[&str] = if exists { &["before", "k"] } else { &["before"] };
        assert_eq!(keys, expected, "killed at {point}");
        assert_eq!(files(&root.join("uploads")), [], "killed at {point}");
        for (path, _) in files(&root.join("entries")) {
            let content = fs::read(&path).unwrap();
            assert!(content.starts_with(CONTENT) || content.starts_with(b"before"), "killed at {point}");
        }
    }
}

#[tokio::test]
async fn what_is_no_whole_entry_is_removed() {
    let world = World::of_files().await;
    let job = world.main_job(1, "o/r");
    for key in ["whole", "cut", "longer", "moved", "foreign"] {
        job.save(key, &[7; 1000]).await;
    }
    let entries = world.root().join("entries");
    let path_of = |key: &str| {
        let entry = world.cache.entries().into_iter().find(|entry| entry.place.key.as_str() == key).unwrap();
        let name = format!("{:016x}", entry.id);
        files(&entries).into_iter().map(|(path, _)| path).find(|path| path.ends_with(&name)).unwrap()
    };
    let cut = fs::File::options().write(true).open(path_of("cut")).unwrap();
    cut.set_len(500).unwrap();
    let mut longer = fs::read(path_of("longer")).unwrap();
    longer.push(0);
    fs::write(path_of("longer"), longer).unwrap();
    // Another repository's directory does not make it that one's.
    world.main_job(2, "o/other").save("theirs", b"theirs").await;
    let theirs = path_of("theirs").parent().unwrap().to_owned();
    fs::rename(path_of("moved"), theirs.join("00000000000000aa")).unwrap();
    fs::rename(path_of("foreign"), entries.join("foreign")).unwrap();
    fs::write(path_of("whole").with_file_name("README"), "x").unwrap();
    fs::create_dir(entries.join("empty")).unwrap();

    let world = world.restart().await;
    let mut keys: Vec<_> =
        world.cache.entries().iter().map(|entry| entry.place.key.as_str().to_owned()).collect();
    keys.sort();
    assert_eq!(keys, ["theirs", "whole"]);
    assert_eq!(files(&entries).len(), 2);
    assert!(!entries.join("empty").exists());
    let job = world.main_job(1, "o/r");
    assert_eq!(job.restore("whole").await.unwrap(), [7; 1000]);
    // A file that somebody removes is an entry no more.
    fs::remove_dir_all(&entries).unwrap();
    assert_eq!(job.find(&["whole"]).await, None);
    assert_eq!(world.cache.entries().len(), 1);
}
