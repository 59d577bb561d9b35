//! A full disk: a clear refusal, and nothing half.

use std::path::Path;
use std::process::Command;

use fireactions_cache::{Cache, Limits, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::*;

const DIR: &str = "FIREACTIONS_TEST_CACHE_DIR";

/// Runs a test of this file on a disk of its own, seen by nobody else and gone with it.
fn on_a_small_disk(test: &str) {
    let temp = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", "mount -t tmpfs -o size=4m tmpfs \"$1\"; shift; exec \"$@\"", "sh"])
        .arg(temp.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("full::{test}"), "--ignored", "--nocapture"])
        .env(DIR, temp.path())
        .env("TMPDIR", temp.path())
        .output()
        .expect("unshare (package util-linux); run as root: 'make test'");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_full_disk_costs_nothing_that_was_saved() {
    on_a_small_disk("child_on_a_small_disk");
}

#[test]
fn what_stays_free_stays_free_whatever_is_announced() {
    on_a_small_disk("child_that_announces");
}

#[test]
fn an_entry_that_cannot_be_read_is_no_reason_to_be_without_all() {
    on_a_small_disk("child_with_a_bad_entry");
}

#[tokio::test]
#[ignore = "run by an_entry_that_cannot_be_read_is_no_reason_to_be_without_all, on a disk of its own"]
async fn child_with_a_bad_entry() {
    let world = World::of_files().await;
    let job = world.main_job(1, "o/r");
    job.save("bad", b"bad").await;
    let (bad, _) = files(&world.root().join("entries")).pop().unwrap();
    job.save("good", b"good").await;
    // A file that says it is longer than what can be read of it.
    let mounted = Command::new("mount").args(["--bind", "/sys/kernel/uevent_seqnum"]).arg(&bad).status();
    assert!(mounted.unwrap().success());
    let world = world.restart().await;
    let job = world.main_job(1, "o/r");
    assert_eq!(job.restore("good").await.unwrap(), b"good");
    assert_eq!(job.find(&["bad"]).await, None);
    assert!(bad.exists());
}

#[tokio::test]
#[ignore = "run by a_full_disk_costs_nothing_that_was_saved, on a disk of 4 MiB"]
async fn child_on_a_small_disk() {
    let dir = std::env::var(DIR).unwrap();
    // The disk of the host is full because of others: nothing that is kept free helps.
    let world = World::of_files_with(|limits| limits.idle = std::time::Duration::MAX).await;
    assert!(world.root().starts_with(&dir));
    let job = world.main_job(1, "o/r");
    job.save("small", b"small").await;
    let ballast = Path::new(&dir).join("ballast");
    std::fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    let address = job.create("large").await;
    // Nothing goes for what has no room in any case.
    job.put(&address, "", &vec![2; 2 << 20]).await.refuses(507, "InsufficientStorage");
    let id = job.reserve("v1").await;
    job.patch(id, "bytes 0-2097151/*", &vec![2; 2 << 20]).await.refuses(507, "the host's cache");
    job.finalize("large", 2 << 20).await.refuses(400, "none were uploaded");
    job.commit(id, 2 << 20).await.refuses(400, "not whole");
    assert_eq!(job.find(&["large"]).await, None);
    assert_eq!(job.restore("small").await.unwrap(), b"small");

    // There is room again, and it all goes on.
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(job.put(&address, "", &vec![3; 1 << 20]).await.status, 201);
    assert_eq!(job.finalize("large", 1 << 20).await.json()["ok"], true);
    assert_eq!(job.restore("large").await.unwrap(), vec![3; 1 << 20]);

    // What must stay free, stays free: of what is kept, of what comes, and at the start of a server.
    let limits = Limits { free: 16 << 20, ..world.limits.clone() };
    let root = world.root();
    drop(world);
    let cache = Cache::open(Options { limits, ..Options::new(&root, "http://x") }).unwrap();
    assert_eq!(cache.entries().len(), 0);
}

#[tokio::test]
#[ignore = "run by what_stays_free_stays_free_whatever_is_announced, on a disk of 4 MiB"]
async fn child_that_announces() {
    const MIB: usize = 1 << 20;
    let world = World::of_files_with(|limits| limits.free = 1 << 20).await;
    let [job, other] = [(1, "o/r"), (2, "o/other")].map(|(number, name)| world.main_job(number, name));
    other.save("theirs", b"content").await;
    // What cannot have room is refused, and nothing goes for it.
    let id = job.reserve("huge").await;
    let said = cut(world.begin(&job.range(id, "bytes 0-10737418239/*"), 10 << 30, b"").await).await;
    assert!(!said.contains("204"), "{said}");
    assert_eq!(other.restore("theirs").await.unwrap(), b"content");
    assert_eq!(world.cache.stats().evicted, 0);

    // What is still to come is counted as if it were there.
    let id = job.reserve("slow").await;
    let mut slow = world.begin(&job.range(id, "bytes 0-2097151/*"), 2 << 20, &vec![1; MIB / 2]).await;
    while files(&world.root().join("uploads")).iter().all(|(_, size)| *size == 0) {
        tokio::task::yield_now().await;
    }
    let address = other.create("second").await;
    other.put(&address, "", &vec![2; 3 * MIB / 2]).await.refuses(507, "no room for 1572864 more bytes");
    slow.write_all(&vec![1; 3 * MIB / 2]).await.unwrap();
    let mut said = [0; 12];
    slow.read_exact(&mut said).await.unwrap();
    assert_eq!(said, *b"HTTP/1.1 204");
    assert_eq!(other.put(&address, "", &vec![2; MIB / 2]).await.status, 201);
    assert_eq!(world.cache.stats().evicted, 0);
    assert_eq!(job.commit(id, 2 * MIB).await.status, 204);
}
