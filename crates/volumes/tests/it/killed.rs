//! A process killed with -9 where a volume gets its new content: afterwards it has the old one or the new one, whole, and nothing is
//! left beside it.
#![cfg(feature = "failpoints")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use fireactions_volumes::Volumes;

use crate::common::*;

const DIR: &str = "FIREACTIONS_TEST_VOLUMES_DIR";
const POINT: &str = "FIREACTIONS_TEST_POINT";

#[test]
#[ignore = "run by the test here, and kills itself"]
fn child_that_kills_itself() {
    let [dir, point] = [DIR, POINT].map(|name| std::env::var(name).unwrap());
    let dir = Path::new(&dir);
    let volumes = Volumes::open(&dir.join("sticky"), limits()).unwrap();
    volumes.keep(&name("o", "k"), MIB, &disk(dir, b"old"), writer("old")).unwrap();
    fail::cfg_callback(&point, || {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    })
    .unwrap();
    for key in ["k", "new"] {
        volumes.keep(&name("o", key), MIB, &disk(dir, b"new"), writer("new")).unwrap();
    }
}

#[test]
fn a_volume_has_its_old_content_or_its_new_one() {
    for (point, is_new) in
        [("moved", false), ("synced", false), ("written", false), ("renamed", true), ("named", true)]
    {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child_that_kills_itself", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .env(POINT, format!("volumes::{point}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "it does not come by {point}: {said}");

        let root = dir.path().join("sticky");
        let volumes = Volumes::open(&root, limits()).unwrap();
        let expected = if is_new { "new" } else { "old" };
        let list = volumes.list();
        assert_eq!((list.len(), list[0].writer.job.as_str()), (1, expected), "killed at {point}");
        let dest = dir.path().join("copy");
        volumes.take(&name("o", "k"), MIB, &dest, own()).unwrap().unwrap();
        assert_eq!(content(&dest), expected.as_bytes(), "killed at {point}");
        assert_eq!(files(&root).len(), 2, "killed at {point}: {:?}", files(&root));
        // And it goes on.
        volumes.keep(&name("o", "k"), MIB, &disk(dir.path(), b"next"), writer("next")).unwrap();
        assert_eq!(volumes.list()[0].writer.job, "next");
    }
}
