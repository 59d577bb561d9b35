//! The life of machines and jobs as a state machine: random operations and faults on a host with real parts, held
//! against a model of what must be true of them, and shrunk when it is not.
//!
//! ```text
//! op.rs       what happens, and when it may          watch.rs    what holds at every moment
//! play.rs     what a job plays and prints            verdict.rs  what holds of a job in the end
//! world.rs    operations done to a host              ledger.rs   what the servers wrote down, read without them
//! server.rs   one server after the other             host.rs     what is on the host, and what is left
//! ```
//!
//! Everything is real but the VMM program (crates/standin) and the server's process: see `server.rs` for how its
//! end is played. Cases run beside each other, each on a host (network namespace, state directory, cgroup) of its
//! own.
//!
//! `PROPTEST_CASES` sets the number of cases, `PROPTEST_RNG_SEED` repeats a run's operations (not their timing),
//! `LIFECYCLE_LOG` takes a filter for the servers' own log. Cases that failed once are kept in `regressions.txt` and run first.

mod host;
mod ledger;
mod op;
mod play;
mod server;
mod verdict;
mod watch;
mod world;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use fireactions_image::{Images, ImagesConfig};
use fireactions_model::{ImageRef, PullPolicy};
use fireactions_testkit::{busybox, standin};
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestCaseError, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

use self::host::Janitor;
use self::op::{Op, Reference};
use self::watch::TOTALS;
use self::world::World;

/// Cases of a plain `make test`; `make test-all` plays as many as PROPTEST_CASES says.
const CASES: u32 = 16;
/// Operations of one case, at most.
const OPERATIONS: usize = 40;
/// Cases that run at a time: most of a case's time is waiting.
const LANES: u32 = 6;
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/lifecycle/regressions.txt");

/// A lane found something: the others leave it the machine to shrink on.
static FAILED: AtomicBool = AtomicBool::new(false);

#[test]
fn nothing_is_lost_and_nothing_is_left_whatever_happens() {
    let filter = std::env::var("LIFECYCLE_LOG").unwrap_or_else(|_| "off".to_owned());
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let began = Instant::now();
    let config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => rand::random(),
    };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { CASES };
    println!("{cases} cases from PROPTEST_RNG_SEED={seed}");

    let dir = tempfile::Builder::new().prefix("falife-").tempdir().unwrap();
    let images = prepare(dir.path());
    let _janitor = Janitor::start(&world::cgroups());
    let shared = dir.path().join("shared");
    for name in ["boot", "scratch"] {
        std::fs::create_dir_all(shared.join(name)).unwrap();
    }
    let found: Vec<String> = std::thread::scope(|scope| {
        let lanes = LANES.min(cases);
        let lanes: Vec<_> = (0..lanes)
            .map(|lane| {
                let config = Config {
                    cases: (cases + lane) / lanes,
                    rng_seed: RngSeed::Fixed(seed.wrapping_add(lane.into())),
                    failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
                    // Time is short while others wait for the result; `PROPTEST_MAX_SHRINK_TIME` gives more.
                    max_shrink_time: config.max_shrink_time.max(300_000),
                    ..config.clone()
                };
                let (images, shared) = (&images, &shared);
                scope.spawn(move || run_lane(config, images, shared))
            })
            .collect();
        lanes.into_iter().filter_map(|lane| lane.join().unwrap().err()).collect()
    });
    println!("{TOTALS:?} in {:.0?}", began.elapsed());
    assert!(found.is_empty(), "{}\nPROPTEST_RNG_SEED={seed} repeats the operations", found.join("\n\n"));
}

/// Runs cases one after the other. Err: the smallest that fails, and why.
fn run_lane(config: Config, images: &Images, shared: &Path) -> Result<(), String> {
    let mut runner = TestRunner::new(config);
    let strategy = Reference::sequential_strategy(5..=OPERATIONS);
    let result = runner.run(&strategy, |(_, operations, seen)| {
        if FAILED.load(Ordering::SeqCst) && seen.is_some() {
            return Ok(());
        }
        TOTALS.cases.fetch_add(1, Ordering::SeqCst);
        TOTALS.operations.fetch_add(operations.len(), Ordering::SeqCst);
        // A thread of its own, because a network namespace belongs to a thread and whatever that starts.
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| play(operations, seen.as_deref(), images, shared)).join()
        });
        outcome.map_err(|panic| {
            FAILED.store(true, Ordering::SeqCst);
            let text = panic.downcast_ref::<String>().cloned();
            TestCaseError::fail(
                text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
                    .unwrap_or_default(),
            )
        })
    });
    result.map_err(|error| error.to_string())
}

/// One case.
fn play(operations: Vec<Op>, seen: Option<&AtomicUsize>, images: &Images, shared: &Path) {
    let mut world = World::new(images, shared);
    for operation in operations {
        if let Some(seen) = seen {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        world.happen(operation);
        world.check();
    }
    world.settle();
}

/// The image that all machines have, made ready once.
fn prepare(dir: &Path) -> Images {
    standin::program();
    let images = Images::open(&dir.join("images"), ImagesConfig::default()).unwrap();
    let image = ImageRef::new(busybox::reference()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(images.ensure(&image, PullPolicy::IfNotPresent, None)).unwrap();
    images
}
