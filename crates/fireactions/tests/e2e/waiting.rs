//! Queued jobs say what they wait for: each reason with a real server, whose machines are stand-ins.

use std::io::BufRead as _;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Setup, World, pool, pool_of, text};

const SOON: Duration = Duration::from_secs(60);

impl World {
    /// Waits until a job waits for this kind of thing, and gives the whole reason.
    pub(crate) fn wait_waiting(&self, job: &str, kind: &str) -> Value {
        self.wait(SOON, &format!("job {job} to wait for '{kind}'"), || {
            let waiting = self.job(job)["waiting"].take();
            println!("{job} waits: {waiting}");
            (waiting["kind"] == kind).then_some(waiting)
        })
    }

    /// What people read of a job.
    fn shown(&self, job: &str) -> String {
        text(&self.cli(&["jobs", "show", job]).stdout)
    }
}

#[test]
fn queued_jobs_say_what_they_wait_for() {
    let slow = "      kernel_args: standin.boot=20\n";
    let pools = [
        pool("default", 0, 4, ""),
        pool("slow", 0, 1, slow),
        pool_of("absent", 0, 2, "oci-archive:/no/such/image.tar", ""),
        pool_of("silent", 0, 1, "127.0.0.1:5002/busybox:v1", ""),
    ];
    let more = "images: {local_dirs: [/nor]}".to_owned();
    let world = World::start(Setup { pools: pools.concat(), more, standin: true, ..Setup::default() });
    let silent = world.namespace.listen(([127, 0, 0, 1], 5002));
    let submit = |options: &[&str]| world.submit(options, "true");

    // A pool that is near, and one that is nearer.
    let nowhere = submit(&["--label", "slow", "--label", "gpu"]);
    let why = world.wait_waiting(&nowhere, "no_pool");
    assert_eq!((&why["nearest"], &why["lacks"]), (&"slow".into(), &["gpu"].as_slice().into()));
    let shown = world.shown(&nowhere);
    assert!(shown.contains("no pool has all its labels; the nearest, 'slow', lacks 'gpu'"), "{shown}");

    let first = submit(&["--label", "slow"]);
    let why = world.wait_waiting(&first, "starting");
    let machines = world.machines();
    assert!(machines.iter().any(|machine| machine["id"] == why["machine"]), "{why}: {machines:?}");
    let second = submit(&["--label", "slow"]);
    assert_eq!(world.wait_waiting(&second, "pool_at_maximum")["max"], 1);
    assert_eq!(world.job(&first)["waiting"]["machine"], why["machine"], "each has its own reason");

    let fetching = submit(&["--label", "silent"]);
    let why = world.wait_waiting(&fetching, "image");
    assert_eq!((&why["image"], &why["pool"]), (&"127.0.0.1:5002/busybox:v1".into(), &"silent".into()));

    // A pool whose machines fail, and a job whose own wish fails in a pool that is well.
    let wishes = submit(&["--label", "default", "--image", "oci-archive:/nor/this.tar"]);
    for (job, file) in [(submit(&["--label", "absent"]), "/no/such/image.tar"), (wishes, "/nor/this.tar")] {
        let why = world.wait_waiting(&job, "backing_off");
        let error = why["error"].as_str().unwrap();
        assert!(error.contains(file) && why["failures"].as_u64().unwrap() > 0, "{why}");
        let until: jiff::Timestamp = why["until"].as_str().unwrap().parse().unwrap();
        assert!(until < jiff::Timestamp::now() + Duration::from_secs(300), "{why}");
    }
    assert_eq!(world.json(&["pools", "show", "default"])["backoff"], Value::Null);

    let giant = submit(&["--label", "default", "--memory", "9000"]);
    world.wait_waiting(&giant, "too_large");
    let large = ["--label", "default", "--memory", "6000"];
    let running = world.submit(&large, "echo begun; wait; sleep 1");
    world.wait_log(&running, "begun", SOON);
    let crowded = world.submit(&large, "true");
    assert_eq!(world.wait_waiting(&crowded, "host_full")["held"], 0);

    assert!(world.cli(&["pools", "pause", "default"]).status.success());
    assert_eq!(world.wait_waiting(&crowded, "paused")["pool"], "default");
    // The list says the same, and only of jobs that wait.
    let list = world.json(&["jobs", "list"]);
    let of = |job: &str| list.as_array().unwrap().iter().find(|one| one["id"] == *job).unwrap();
    assert_eq!(of(&crowded)["waiting"]["kind"], "paused");
    assert_eq!(of(&nowhere)["waiting"]["kind"], "no_pool");
    assert_eq!(of(&running)["waiting"], Value::Null);

    assert!(world.cli(&["pools", "resume", "default"]).status.success());
    world.wait_waiting(&crowded, "host_full");
    assert!(world.cli(&["exec", &running, "--", "tell"]).status.success());
    let done = world.wait_job(&crowded, &["succeeded"], SOON);
    assert_eq!((&done["waiting"], &done["reason"]), (&Value::Null, &Value::Null), "{done}");
    drop(silent);
    world.finish();
}

#[test]
fn run_says_what_its_job_waits_for() {
    let world = World::start(Setup { standin: true, ..Setup::default() });
    assert!(world.cli(&["pools", "pause", "default", "--json"]).status.success());
    // The controller has to look first, or the answer to a submission is early.
    let first = world.submit(&[], "true");
    world.wait_waiting(&first, "paused");
    let mut run = world.command();
    run.args(["run", "--", "true"]).stderr(std::process::Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut said = std::io::BufReader::new(run.stderr.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    assert!(line.ends_with("is queued: pool 'default' is paused"), "{line}");
    let detached = world.cli(&["run", "--detach", "--", "true"]);
    let note = text(&detached.stderr);
    assert!(note.contains("is queued, but pool 'default' is paused"), "{note}");
    let id = text(&detached.stdout).trim().to_owned();
    let listed = text(&world.cli(&["jobs", "list"]).stdout);
    let row = listed.lines().find(|line| line.starts_with(&id)).unwrap();
    assert!(row.ends_with("pool 'default' is paused"), "{listed}");

    assert!(world.cli(&["pools", "resume", "default"]).status.success());
    assert!(run.wait().unwrap().success());
    for job in [&first, &id] {
        world.wait_job(job, &["succeeded"], SOON);
    }
    world.finish();
}
