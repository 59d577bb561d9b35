//! Many jobs through few machines.

use std::collections::HashSet;
use std::time::Duration;

use crate::world::{Setup, World, pool, text};

const MACHINES: usize = 3;
/// Ten times what it takes on an idle host with two cores.
const ALL: Duration = Duration::from_secs(1200);

#[test]
fn many_jobs_through_three_machines() {
    let jobs = if std::env::var_os("FIREACTIONS_LONG").is_some() { 100 } else { 20 };
    through_three_machines(jobs, false);
}

/// The engine's part, with machines that cost nothing.
#[test]
fn a_hundred_jobs_through_three_played_machines() {
    through_three_machines(100, true);
}

fn through_three_machines(jobs: usize, standin: bool) {
    let world = World::start(Setup { pools: pool("default", 2, 3, ""), standin, ..Setup::default() });
    let ids: Vec<String> = (0..jobs).map(|n| world.submit(&[], &format!("echo job {n}"))).collect();
    world.wait(ALL, "all jobs to end", || {
        let machines = world.machines();
        assert!(machines.len() <= MACHINES, "the pool is above its maximum: {machines:#?}");
        let active = world.json(&["jobs", "list", "--active", "--limit", "1"]);
        active.as_array().unwrap().is_empty().then_some(())
    });

    let mut used = HashSet::new();
    for (n, id) in ids.iter().enumerate() {
        let job = world.job(id);
        assert_eq!(
            (&job["state"], &job["attempt"]),
            (&"succeeded".into(), &1.into()),
            "{job}\n{}",
            world.log()
        );
        assert_eq!(text(&world.cli(&["jobs", "logs", id]).stdout), format!("job {n}\n"), "exactly once");
        assert!(used.insert(job["machine"].as_str().unwrap().to_owned()), "two jobs had one machine: {job}");
    }

    // With nothing to do and no machine to keep warm, not one thing is left, although the server runs.
    assert!(world.cli(&["pools", "pause", "default"]).status.success());
    world.wait(Duration::from_secs(60), "the last machines to go", || {
        world.machines().is_empty().then_some(())
    });
    world.assert_no_machine_left();
    world.finish();
}
