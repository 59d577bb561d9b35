//! The log of a real server in a real journal of its own.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(60);
const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";
/// The host's own journal is out of sight.
const BEFORE: &str = "mkdir -p /run/systemd/journal /run/log
for dir in /run/systemd/journal /run/log /var/log; do mount -t tmpfs none $dir; done
mkdir /run/log/journal";

struct Journal(Child);

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the journal has with this field.
fn entries(world: &World, field: &str) -> Vec<Value> {
    let mut journalctl = world.namespace.command("journalctl");
    journalctl.args(["--directory=/run/log/journal", "--output=json", field]);
    let said = journalctl.output().unwrap();
    text(&said.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_job_is_found_in_the_journal_by_its_id() {
    let mut world = World::new(Setup {
        pools: pool("default", 0, 2, ""),
        before: BEFORE.to_owned(),
        standin: true,
        ..Setup::default()
    });
    let mut journald = world.namespace.command("setpriv");
    let journal = Journal(journald.args(["--pdeathsig", "KILL", JOURNALD]).spawn().unwrap());
    let is_there =
        |path: &str| world.namespace.command("test").args(["-S", path]).status().unwrap().success();
    world.wait(SOON, "the journal's socket", || is_there("/run/systemd/journal/socket").then_some(()));
    // As systemd says that standard error leads there.
    let output = File::create(world.path("server.log")).unwrap().metadata().unwrap();
    world.boot_with(&[("JOURNAL_STREAM", &format!("{}:{}", output.dev(), output.ino()))]);
    let id = world.submit(&["--env", "TOKEN=hunter2"], "exit 0");
    world.wait_job(&id, &["succeeded"], SOON);
    let found = world.wait(SOON, "messages of the job", || {
        let found = entries(&world, &format!("FIREACTIONS_JOB={id}"));
        (!found.is_empty()).then_some(found)
    });
    for entry in &found {
        assert_eq!(
            (&entry["SYSLOG_IDENTIFIER"], &entry["_TRANSPORT"]),
            (&"fireactions".into(), &"journal".into())
        );
        assert!(entry["MESSAGE"].as_str().unwrap().contains(&format!("job={id}")), "{entry}");
    }
    let all = entries(&world, "SYSLOG_IDENTIFIER=fireactions");
    let ready =
        all.iter().find(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with("ready ")));
    assert_eq!(ready.unwrap()["PRIORITY"], "6");
    assert!(!format!("{all:?}").contains("hunter2"));
    assert_eq!(std::fs::read_to_string(world.path("server.log")).unwrap(), "", "it is said once");
    drop(journal);
    world.finish();
}
