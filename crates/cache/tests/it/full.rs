//! A full disk: a clear refusal, and nothing half.

use std::path::Path;
use std::process::Command;

use fireactions_cache::{Cache, Limits, Options};

use crate::common::*;

const DIR: &str = "FIREACTIONS_TEST_CACHE_DIR";

#[test]
fn a_full_disk_costs_nothing_that_was_saved() {
    let temp = tempfile::tempdir().unwrap();
    // A disk of its own, seen by nobody else, gone with the child.
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", "mount -t tmpfs -o size=4m tmpfs \"$1\"; shift; exec \"$@\"", "sh"])
        .arg(temp.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "full::child_on_a_small_disk", "--ignored", "--nocapture"])
        .env(DIR, temp.path())
        .env("TMPDIR", temp.path())
        .output()
        .expect("unshare (package util-linux); run as root: 'make test'");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by a_full_disk_costs_nothing_that_was_saved, on a disk of 4 MiB"]
async fn child_on_a_small_disk() {
    let dir = std::env::var(DIR).unwrap();
    // The disk of the host is full because of others: nothing that is kept free helps.
    let world = World::with(|limits| limits.idle = std::time::Duration::MAX).await;
    assert!(world.root().starts_with(&dir));
    let job = world.main_job(1, "o/r");
    job.save("small", b"small").await;
    let ballast = Path::new(&dir).join("ballast");
    std::fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    let address = job.create("large").await;
    // Room is made first: what nobody else needs goes. Then the disk is full in the middle.
    job.put(&address, "", &vec![2; 2 << 20]).await.refuses(507, "InsufficientStorage");
    let id = job.reserve("v1").await;
    job.patch(id, "bytes 0-2097151/*", &vec![2; 2 << 20]).await.refuses(507, "the host's cache");
    job.finalize("large", 2 << 20).await.refuses(400, "none were uploaded");
    job.commit(id, 2 << 20).await.refuses(400, "not whole");
    assert_eq!(job.find(&["large"]).await, None);

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
