//! The state database is damaged while machines run their jobs.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::world::{Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn machines_whose_rows_were_saved_go_on_and_the_others_are_removed() {
    let mut world =
        World::start(Setup { pools: pool("default", 0, 4, ""), standin: true, ..Setup::default() });
    let jobs: Vec<String> = (0..3).map(|_| world.submit(&[], "echo begun; wait; echo told")).collect();
    for job in &jobs {
        world.wait_log(job, "begun", SOON);
    }
    let machines: Vec<String> =
        jobs.iter().map(|job| world.job(job)["machine"].as_str().unwrap().to_owned()).collect();
    world.signal_server(Signal::SIGKILL);
    world.server_ended(SOON);

    // The last machine's row does not read any more, and the database has no header.
    let path = world.path("state/state.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(db.execute("UPDATE machines SET shape = '{' WHERE id = ?", [&machines[2]]).unwrap(), 1);
    db.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..100].fill(0);
    std::fs::write(&path, bytes).unwrap();

    let config = world.path("config.yaml");
    let server = env!("CARGO_BIN_EXE_fireactions");
    let refused = world.in_namespace(&[server, "server", "--config", config.to_str().unwrap()]);
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains("is damaged") && said.contains("fireactions state rebuild"), "{said}");
    let rebuilt = world.in_namespace(&[server, "state", "rebuild", "--config", config.to_str().unwrap()]);
    let said = text(&rebuilt.stdout);
    assert!(rebuilt.status.success(), "{said}");
    assert!(said.contains("3 jobs and 2 machines saved") && said.contains(&machines[2]), "{said}");

    world.boot();
    world.wait(SOON, "the third job to run again", || {
        let job = world.job(&jobs[2]);
        (job["attempt"] == 2 && job["state"] == "running").then_some(())
    });
    for (job, machine) in jobs.iter().zip(&machines).take(2) {
        let job = world.job(job);
        assert!(job["machine"] == **machine && job["attempt"] == 1 && job["state"] == "running", "{job}");
    }
    assert!(!world.machines().iter().any(|machine| machine["id"] == *machines[2]), "it has no row");
    for job in &jobs {
        world.wait(SOON, "the job to listen", || {
            world.cli(&["exec", job, "--", "tell"]).status.success().then_some(())
        });
        world.wait_job(job, &["succeeded"], SOON);
        let log = text(&world.cli(&["jobs", "logs", job]).stdout);
        assert!(log.ends_with("begun\ntold\n"), "{log}");
    }
    world.finish();
}
