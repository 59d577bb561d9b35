//! Sticky directories: what one job leaves, the next one of the same owner finds, and nobody else; a job that failed, and a pull
//! request of a fork, leave nothing.

use std::time::Duration;

use fireactions_testkit::busybox;
use fireactions_testkit::github::{JobId, JobRequest, JobStatus, runner};
use serde_json::Value;

use crate::github::{self, Octo, PORT};
use crate::world::{BOOT, Setup, UNTIL_TOLD, World, pool_of, text};

/// For what takes moments, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A pool with a directory at `path`; `more` are keys of its runner.
fn pool(name: &str, image: &str, path: &str, more: &str, network: &str) -> String {
    let wanted =
        format!("labels: [{name}]\n      sticky: [{{path: {path}, key: cache, size_mib: 32}}]{more}");
    pool_of(name, 0, 2, image, network).replacen(&format!("labels: [{name}]"), &wanted, 1)
}

/// What is kept: whose it is, and who left it.
fn kept(world: &World) -> Vec<(String, String)> {
    let status = world.json(&["cache", "status"]);
    let text = |volume: &Value, key: &str| volume[key].as_str().unwrap().to_owned();
    let volumes = status["sticky"]["volumes"].as_array().unwrap();
    volumes.iter().map(|volume| (text(volume, "owner"), text(volume, "written_by"))).collect()
}

fn until_kept(world: &World, owner: &str, by: &str) {
    world.wait(SOON, &format!("what {by} left of {owner}"), || {
        kept(world).contains(&(owner.to_owned(), by.to_owned())).then_some(())
    });
}

fn until_gone(world: &World) {
    world.wait(SOON, "the machines to be gone", || world.machines().is_empty().then_some(()));
}

fn log(world: &World, job: &str) -> String {
    text(&world.cli(&["jobs", "logs", job]).stdout)
}

/// What is in the directory, a line added, and the same once more when the test says so.
fn adds(line: &str, then: &str) -> String {
    format!("cat /srv/cache/f; echo {line} >>/srv/cache/f; {UNTIL_TOLD}; cat /srv/cache/f; {then}")
}

#[test]
fn a_job_finds_what_the_last_one_of_its_owner_left_and_nobody_else_s() {
    let image = busybox::reference();
    let local = |name: &str| pool(name, &image, "/srv/cache", "", "");
    let more = "sticky: {keep_free_mib: 0}".to_owned();
    let world = World::start(Setup { pools: local("build") + &local("other"), more, ..Setup::default() });
    let first = world.submit(&["--label", "build"], "ls -A /srv/cache; echo first >/srv/cache/f");
    world.wait_job(&first, &["succeeded"], BOOT);
    assert_eq!(log(&world, &first), "");
    let first = format!("job {first}");
    until_kept(&world, "pool/build", &first);

    // Side by side, and each alone with its own.
    let fails = world.submit(&["--label", "build"], &adds("fails", "exit 1"));
    let succeeds = world.submit(&["--label", "build"], &adds("succeeds", "true"));
    for job in [&fails, &succeeds] {
        world.wait_log(job, "begun", BOOT);
    }
    for (job, state) in [(&fails, "failed"), (&succeeds, "succeeded")] {
        world.tell(job);
        world.wait_job(job, &[state], SOON);
    }
    assert_eq!(log(&world, &fails), "first\nbegun\nfirst\nfails\n");
    assert_eq!(log(&world, &succeeds), "first\nbegun\nfirst\nsucceeds\n");
    until_kept(&world, "pool/build", &format!("job {succeeds}"));
    until_gone(&world);

    let other = world.submit(&["--label", "other"], "ls -A /srv/cache; exit 1");
    let last = world.submit(&["--label", "build"], "cat /srv/cache/f; exit 1");
    for job in [&other, &last] {
        world.wait_job(job, &["failed"], BOOT);
    }
    assert_eq!((log(&world, &other), log(&world, &last)), (String::new(), "first\nsucceeds\n".to_owned()));
    until_gone(&world);
    assert_eq!(kept(&world).len(), 1, "what failed has left nothing: {:?}", kept(&world));

    let said = text(&world.cli(&["cache", "status"]).stdout);
    assert!(said.contains("cache of pool/build: ") && said.contains(&succeeds), "{said}");
    let said = text(&world.cli(&["cache", "gc", "--sticky", "--max-size", "0"]).stdout);
    assert!(said.contains("1 sticky directories"), "{said}");
    assert_eq!(kept(&world), []);
    world.finish();
}

#[test]
fn a_pull_request_of_a_fork_finds_what_a_push_left_and_leaves_nothing() {
    let Octo { fake, files: _files, mut more, .. } = Octo::new("127.0.0.1", 1);
    more += "sticky: {keep_free_mib: 0}";
    let network = format!("    network: {{host_ports: [tcp/{PORT}]}}\n");
    let of = "\n      repository: acme/widgets\n      scale_set: hub";
    let pools = pool("hub", &runner::image(), "/home/runner/cache", of, &network);
    let world = World::start(Setup { pools, more, ..Setup::default() });
    github::open(&fake, &world);
    let owner = "github/acme/widgets";

    let mut known = 0;
    let mut runs = |event: &str, branch: &str, workflow: &str, line: &str| -> String {
        let script = format!("cd /home/runner/cache; cat f || true; echo {line} >>f; {UNTIL_TOLD}");
        let request = JobRequest::new("acme/widgets", &["hub"], &script).caused(event, branch, workflow);
        let id: JobId = fake.queue_job(request);
        known += 1;
        world.wait(BOOT, "GitHub's word on whose job it is", || {
            (world.log().matches("whose job it is, is known").count() >= known).then_some(())
        });
        let rows = world.json(&["jobs", "list", "--active"]);
        let [row, machine] = ["id", "machine"].map(|key| rows[0][key].as_str().unwrap().to_owned());
        // A set's count can be behind: the next machine is to be made when this one has left what it leaves.
        assert!(world.cli(&["pools", "pause", "hub"]).status.success());
        world.tell(&row);
        world.wait(SOON, "GitHub to hear of the end", || {
            (fake.job(id).status == JobStatus::Completed).then_some(())
        });
        world.wait(SOON, "its machine to be gone", || {
            world.machines().iter().all(|other| other["id"] != *machine).then_some(())
        });
        assert!(world.cli(&["pools", "resume", "hub"]).status.success());
        fake.job(id).log
    };
    let found = runs("push", "main", "ci.yml@refs/heads/main", "pushed");
    assert!(!found.contains("pushed"), "{found}");
    until_kept(&world, owner, "push refs/heads/main");
    let found = runs("pull_request", "main", "ci.yml@refs/pull/7/merge", "poison");
    assert!(found.contains("pushed"), "{found}\n{}", world.log());
    let found = runs("push", "topic", "ci.yml@refs/heads/topic", "again");
    assert!(found.contains("pushed") && !found.contains("poison"), "{found}\n{}", world.log());
    until_kept(&world, owner, "push refs/heads/topic");
    world.finish();
}
