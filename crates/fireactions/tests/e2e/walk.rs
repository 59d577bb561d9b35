//! The walk over every fail point: the server is killed with SIGKILL exactly there, the next one starts, and the world
//! must be as if nothing had happened: every job ends once, in its first attempt, with its whole output, and nothing
//! is left that no machine owns.
//!
//! The points are read from the sources, so that a new one is walked without being listed here, and one that no
//! scenario reaches is a failure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fireactions_model::Step;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::world::{BOOT, Setup, UNTIL_TOLD, World, pool, text};

/// Points that the server does not come by in a job's life; tests of the store itself kill a process there.
const IN_THE_STORE: &str = "store::offline-";
/// Points around a runner's registration; the tests of GitHub go there.
const AT_A_FORGE: [&str; 2] = ["store::runner-", "store::credential-"];
/// Points that need two servers; the tests of handovers go there.
const BETWEEN_SERVERS: &str = "handover::";

/// Points with a machine's process before or behind them, or a job's files: they are walked in the way of the driver that is
/// production's, and in `make test-all` with real guests, which are frozen and woken like the played ones.
const OF_THE_DRIVER: [&str; 10] = [
    "::spawn",
    "::agent",
    "::run-",
    "::teardown",
    "::undo",
    "::recover",
    "::restore",
    "::template",
    "::file",
    "staged",
];

/// Where a server that is killed has not taken the job yet.
const BEFORE_A_JOB: [&str; 3] =
    ["store::insert-staged", "store::insert-before-commit", "store::commit-refused"];

/// Where frozen machines are kept, in a world's directory.
const TEMPLATES: &str = "state/images/templates";

/// The pool whose image has an init of its own.
const OWN_INIT: &str = "own";

/// What the server does when it is killed.
#[derive(Debug, Clone, Copy)]
enum Scenario {
    /// A job with a file comes in, runs, prints, fails; its machine is held for a second.
    Job,
    /// A running job is cancelled.
    Cancel,
    /// A server starts after another was killed with a machine that runs a job, an idle one, and one whose VMM died.
    Start,
    /// There is no template: a job's machine boots, and one is made beside.
    Template,
    /// A job's machine is a clone.
    Clone,
    /// A job's machine is to be a clone of a broken template.
    Broken,
    /// As `Template`, with the image's own init.
    OwnTemplate,
    /// As `Clone`, with the image's own init.
    OwnClone,
}

impl Scenario {
    fn of(point: &str) -> Self {
        if point.contains("template-own-") {
            Self::OwnTemplate
        } else if point.contains("restored-own-") {
            Self::OwnClone
        } else if point.contains("template-") {
            Self::Template
        } else if point.contains("restore-") {
            Self::Broken
        } else if point.contains("restored") {
            Self::Clone
        } else if point.contains("recover") {
            Self::Start
        } else if point.contains("cancel") {
            Self::Cancel
        } else {
            Self::Job
        }
    }

    /// Whose machines are asked for.
    fn pool(self) -> &'static str {
        match self {
            Self::OwnTemplate | Self::OwnClone => OWN_INIT,
            _ => "default",
        }
    }
}

/// Whose guests run while the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guests {
    Real,
    /// What happens on the host is the same with them, and takes a tenth of the time.
    Played,
}

impl Guests {
    fn job(self) -> &'static str {
        match self {
            Self::Real => "cat /input; echo ran; exit 1",
            Self::Played => "echo given; echo ran; exit 1",
        }
    }

    fn until_told(self) -> &'static str {
        match self {
            Self::Real => UNTIL_TOLD,
            Self::Played => "echo begun; wait",
        }
    }
}

/// Points that are walked in one test: as many tests as there are, so that they are walked side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    DriversInAJob,
    DriversAtAStart,
    DriversWithTemplates,
    Others,
}

impl Part {
    fn of(point: &str) -> Self {
        let drivers = OF_THE_DRIVER.iter().any(|part| point.contains(part));
        match Scenario::of(point) {
            _ if !drivers => Self::Others,
            Scenario::Job | Scenario::Cancel => Self::DriversInAJob,
            Scenario::Start => Self::DriversAtAStart,
            Scenario::Template
            | Scenario::Clone
            | Scenario::Broken
            | Scenario::OwnTemplate
            | Scenario::OwnClone => Self::DriversWithTemplates,
        }
    }

    /// Kills a server at each of its points; they are at least this many.
    fn walk(self, least: usize) {
        let mut points = points();
        points.retain(|point| Self::of(point) == self);
        assert!(points.len() >= least, "points were not found: {points:?}");
        // For whoever looks into one of them.
        if let Ok(only) = std::env::var("FIREACTIONS_WALK_ONLY") {
            points.retain(|point| point.contains(&only));
        }
        let real = std::env::var_os("FIREACTIONS_LONG").is_some();
        let guests = if real { Guests::Real } else { Guests::Played };
        let mut world = world(guests);
        if self == Self::DriversWithTemplates {
            // There is to be one at the most, and that of this world's pools.
            std::fs::remove_dir_all(world.path(TEMPLATES)).unwrap();
        }
        for point in points {
            walk(&mut world, guests, &point);
        }
        world.boot();
        world.finish();
    }
}

#[test]
fn killed_at_each_fail_point_of_the_driver_in_a_job_the_server_loses_and_leaves_nothing() {
    Part::DriversInAJob.walk(12);
}

#[test]
fn killed_at_each_fail_point_of_the_driver_at_a_start_the_server_loses_and_leaves_nothing() {
    Part::DriversAtAStart.walk(4);
}

#[test]
fn killed_at_each_fail_point_of_the_driver_with_templates_the_server_loses_and_leaves_nothing() {
    Part::DriversWithTemplates.walk(12);
}

#[test]
fn killed_at_each_other_fail_point_the_server_loses_and_leaves_nothing() {
    Part::Others.walk(15);
}

/// Its machine has no row: what is left of it must tell of the rest, however far the undoing came.
#[test]
fn a_template_of_the_driver_whose_undoing_is_killed_again_and_again_leaves_nothing() {
    let mut world = world(Guests::Played);
    let _ = std::fs::remove_dir_all(world.path(TEMPLATES));
    let frozen = "machine::template-frozen";
    world.boot_until(frozen);
    let job = world.submit(&["--label", "default"], Guests::Played.job());
    world.server_died(frozen);
    for point in ["machine::undo-process", "machine::undo-network", "machine::undo-rest"] {
        world.boot_until(point);
        world.server_died(point);
    }
    world.boot();
    let job = world.wait_job(&job, &["failed"], BOOT);
    assert_eq!(job["attempt"], 1, "{job}\n{}", world.log());
    world.finish();
}

/// Every fail point of the crates that the server is made of.
fn points() -> BTreeSet<String> {
    let mut found: BTreeSet<String> = Step::ALL
        .into_iter()
        // The row's first step is written with the row.
        .filter(|step| *step != Step::Created)
        .flat_map(|step| ["before", "after"].map(|side| format!("machine::{}-{side}", step.as_str())))
        .collect();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for part in ["machine", "store", "forge", "pool", "fireactions"] {
        sources(&crates.join(part).join("src"), &mut |source| {
            let literals = source.split("fail_point!(\"").skip(1);
            found.extend(literals.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        });
    }
    found.retain(|point| {
        let elsewhere = [IN_THE_STORE, BETWEEN_SERVERS].into_iter().chain(AT_A_FORGE);
        !elsewhere.into_iter().any(|part| point.starts_with(part))
    });
    found
}

fn sources(directory: &Path, read: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            sources(&entry.path(), read);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            read(&std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn world(guests: Guests) -> World {
    let hold = "    on_failure: {hold: {for: 1s, max: 2}}\n";
    let pools =
        pool("default", 0, 3, hold) + &pool("warm", 0, 1, "") + &pool(OWN_INIT, 0, 3, "    init: image\n");
    let mut world = World::start(Setup { pools, standin: guests == Guests::Played, ..Setup::default() });
    world.signal_server(Signal::SIGTERM);
    assert!(world.server_ended(Duration::from_secs(60)).success(), "{}", world.log());
    std::fs::write(world.path("input"), "given\n").unwrap();
    world
}

/// One point: killed there, started again, looked at, and stopped.
fn walk(world: &mut World, guests: Guests, point: &str) {
    let scenario = Scenario::of(point);
    println!("walk: {point} ({scenario:?})");
    let jobs = match scenario {
        Scenario::Job => in_a_job(world, guests, point, "default"),
        Scenario::Cancel => in_a_cancellation(world, guests, point),
        Scenario::Start => at_a_start(world, point),
        Scenario::Template | Scenario::OwnTemplate => {
            // The server does not run between two points.
            let _ = std::fs::remove_dir_all(world.path(TEMPLATES));
            in_a_job(world, guests, point, scenario.pool())
        }
        Scenario::Clone => {
            with_a_template(world, scenario.pool());
            in_a_job(world, guests, point, scenario.pool())
        }
        Scenario::OwnClone => {
            let _ = std::fs::remove_dir_all(world.path(TEMPLATES));
            with_a_template(world, scenario.pool());
            in_a_job(world, guests, point, scenario.pool())
        }
        Scenario::Broken => {
            let template = with_a_template(world, scenario.pool());
            // Another file in its place: other worlds have this one, too.
            std::fs::remove_file(template.join("state")).unwrap();
            std::fs::write(template.join("state"), "broken").unwrap();
            in_a_job(world, guests, point, scenario.pool())
        }
    };
    for (id, expected) in jobs {
        let job = world.wait_job(&id, &["succeeded", "failed", "cancelled", "lost", "timed_out"], BOOT);
        let log = text(&world.cli(&["jobs", "logs", &id]).stdout);
        assert_eq!(
            (job["state"].as_str().unwrap(), job["attempt"].as_u64().unwrap(), log.as_str()),
            (expected.state, expected.attempt, expected.log),
            "killed at {point}: {job}\n{}",
            world.log()
        );
    }
    assert!(world.cli(&["pools", "pause", "warm"]).status.success());
    world.wait(BOOT, &format!("the machines to be gone after {point}"), || {
        world.machines().is_empty().then_some(())
    });
    world.assert_no_machine_left();
    assert!(world.cli(&["pools", "resume", "warm"]).status.success());
    world.signal_server(Signal::SIGTERM);
    assert!(world.server_ended(Duration::from_secs(60)).success(), "after {point}\n{}", world.log());
    world.assert_nothing_left();
}

/// How a job must have ended.
struct Expected {
    state: &'static str,
    attempt: u64,
    log: &'static str,
}

const FAILED: Expected = Expected { state: "failed", attempt: 1, log: "given\nran\n" };

fn in_a_job(world: &mut World, guests: Guests, point: &str, pool: &str) -> Vec<(String, Expected)> {
    world.boot_until(point);
    let input = format!("{}:/input", world.path("input").display());
    let args = ["run", "--detach", "--name", point, "--label", pool, "--copy", &input, "--"];
    let script = ["sh", "-c", guests.job()];
    let submitted = world.cli(&[&args[..], &script].concat());
    world.server_died(point);
    world.boot();
    // Found by its name, which nobody else has: it may be over by now.
    let jobs = world.json(&["jobs", "list"]);
    let taken = jobs.as_array().unwrap().iter().filter(|job| job["spec"]["name"] == point).map(id);
    let taken: Vec<String> = taken.collect();
    let job = if BEFORE_A_JOB.contains(&point) {
        // It was not taken, not even half, and its asker knows.
        assert!(!submitted.status.success(), "killed at {point}: {}", text(&submitted.stdout));
        assert_eq!(taken, Vec::<String>::new(), "killed at {point}\n{}", world.log());
        let again = world.cli(&[&args[..], &script].concat());
        assert!(again.status.success(), "{}\n{}", text(&again.stderr), world.log());
        text(&again.stdout).trim().to_owned()
    } else {
        // It was taken, though its asker may not have heard of it.
        assert_eq!(taken.len(), 1, "killed at {point}: {taken:?}\n{}", world.log());
        let told = text(&submitted.stdout);
        assert!(!submitted.status.success() || told.trim() == taken[0], "{told}: {taken:?}");
        taken[0].clone()
    };
    vec![(job, FAILED)]
}

/// Sees to it that there is a template, with a server that comes and goes.
fn with_a_template(world: &mut World, pool: &str) -> PathBuf {
    world.boot();
    let job = world.submit(&["--label", pool], "true");
    world.wait_job(&job, &["succeeded"], BOOT);
    let directory = world.path(TEMPLATES);
    let template = world.wait(BOOT, "a template", || {
        let mut entries = std::fs::read_dir(&directory).ok()?.map(|entry| entry.unwrap().path());
        entries.find(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'))
    });
    world.signal_server(Signal::SIGTERM);
    assert!(world.server_ended(Duration::from_secs(60)).success(), "{}", world.log());
    template
}

fn in_a_cancellation(world: &mut World, guests: Guests, point: &str) -> Vec<(String, Expected)> {
    world.boot_until(point);
    let job = world.submit(&["--label", "default"], guests.until_told());
    world.wait_log(&job, "begun", BOOT);
    let cancelled = world.cli(&["jobs", "cancel", &job]);
    world.server_died(point);
    world.boot();
    if !cancelled.status.success() && world.job(&job)["cancel_requested"] == false {
        // It was never taken, and its asker knows.
        assert!(world.cli(&["jobs", "cancel", &job]).status.success());
    }
    vec![(job, Expected { state: "cancelled", attempt: 1, log: "begun\n" })]
}

fn at_a_start(world: &mut World, point: &str) -> Vec<(String, Expected)> {
    world.boot();
    assert!(world.cli(&["pools", "scale", "warm", "--min", "1"]).status.success());
    let job = world.submit(&["--label", "default"], "echo begun; sleep 10; echo ended");
    let lost = world.submit(&["--label", "default"], "echo begun; sleep 10; echo ended");
    for job in [&job, &lost] {
        world.wait_log(job, "begun", BOOT);
    }
    world.wait_ready("warm", 1);
    assert!(world.cli(&["pools", "scale", "warm", "--min", "0"]).status.success());
    let machines = world.machines();
    world.signal_server(Signal::SIGKILL);
    world.server_ended(Duration::from_secs(10));
    for machine in machines.iter().filter(|machine| machine["job"] == *lost) {
        kill(Pid::from_raw(i32::try_from(machine["pid"].as_i64().unwrap()).unwrap()), Signal::SIGKILL)
            .unwrap();
    }
    world.boot_until(point);
    world.server_died(point);
    world.boot();
    vec![
        (job, Expected { state: "succeeded", attempt: 1, log: "begun\nended\n" }),
        (lost, Expected { state: "succeeded", attempt: 2, log: "begun\nbegun\nended\n" }),
    ]
}

fn id(job: &Value) -> String {
    job["id"].as_str().unwrap().to_owned()
}
