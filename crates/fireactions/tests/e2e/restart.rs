//! Two servers where there may be one.

use crate::world::{BOOT, Setup, World, pool, text};

#[test]
fn a_second_server_is_refused_and_harms_nothing() {
    let world = World::start(Setup { pools: pool("default", 1, 1, ""), ..Setup::default() });
    let ready = world.wait_ready("default", 1);

    // The same state: the lock says who holds it.
    let config = world.path("config.yaml");
    let server = env!("CARGO_BIN_EXE_fireactions");
    let second = world.in_namespace(&[server, "server", "--config", config.to_str().unwrap()]);
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(said.contains(&world.server_pid().to_string()), "{said}");

    // A state of its own in the same network namespace: it would take the first one's taps for strays.
    let other = std::fs::read_to_string(&config)
        .unwrap()
        .replace("/state", "/other")
        .replace("api.sock", "other.sock");
    let config = world.path("other.yaml");
    std::fs::write(&config, other).unwrap();
    let second = world.in_namespace(&[server, "server", "--config", config.to_str().unwrap()]);
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(said.contains("another fireactions server runs in this network namespace"), "{said}");

    let job = world.submit(&["--label", "default"], "echo still here");
    let job = world.wait_job(&job, &["succeeded"], BOOT);
    assert_eq!(job["machine"], ready[0]["id"], "the warm machine was left alone");
    world.finish();
}
