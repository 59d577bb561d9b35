//! Many jobs through few machines.

use std::collections::HashSet;
use std::time::Duration;

use crate::driver::on_firecracker;
use crate::world::{Setup, World, pool, text};

/// The hundred are for the engine; the second driver shows itself in fewer.
fn jobs() -> usize {
    if on_firecracker() { 30 } else { 100 }
}

const MACHINES: usize = 3;
/// Ten times what it takes on an idle host with two cores.
const ALL: Duration = Duration::from_secs(1200);

/// On a busy host an emulated guest hangs now and then (a lost interrupt, about one in some hundred). Its job is then tried
/// once more, and says why.
const HUNG: usize = 2;

#[test]
fn many_jobs_through_three_machines() {
    let world = World::start(Setup { pools: pool("default", 2, 3, ""), ..Setup::default() });
    let ids: Vec<String> = (0..jobs()).map(|n| world.submit(&[], &format!("echo job {n}"))).collect();
    world.wait(ALL, "all jobs to end", || {
        let machines = world.machines();
        assert!(machines.len() <= MACHINES, "the pool is above its maximum: {machines:#?}");
        let active = world.json(&["jobs", "list", "--active", "--limit", "1"]);
        active.as_array().unwrap().is_empty().then_some(())
    });

    let (mut used, mut hung) = (HashSet::new(), 0);
    for (n, id) in ids.iter().enumerate() {
        let job = world.job(id);
        assert_eq!(job["state"], "succeeded", "{job}\n{}", world.log());
        if job["attempt"] != 1 {
            assert!(job["attempt"] == 2 && job["autopsy"].is_object(), "{job}\n{}", world.log());
            hung += 1;
            assert!(hung <= HUNG, "{hung} guests hung, the last under {job}\n{}", world.log());
            continue;
        }
        assert_eq!(text(&world.cli(&["jobs", "logs", id]).stdout), format!("job {n}\n"), "exactly once");
        assert!(used.insert(job["machine"].as_str().unwrap().to_owned()), "two jobs had one machine: {job}");
    }
    assert_eq!(used.len(), jobs() - hung);

    // With nothing to do and no machine to keep warm, not one thing is left, although the server runs.
    assert!(world.cli(&["pools", "pause", "default"]).status.success());
    world.wait(Duration::from_secs(60), "the last machines to go", || {
        world.machines().is_empty().then_some(())
    });
    world.assert_no_machine_left();
    world.finish();
}
