//! The server that a reload (SIGHUP) starts: it takes over, or it ends.
#![cfg(feature = "failpoints")]

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Setup, World, pool};

const SOON: Duration = Duration::from_secs(60);

/// One that reloads is stopped, or dies, while its successor has not asked it for anything yet.
#[test]
fn a_successor_never_serves_alone() {
    let mut world =
        World::start(Setup { pools: pool("default", 0, 1, ""), standin: true, ..Setup::default() });
    for end in [Signal::SIGTERM, Signal::SIGKILL] {
        world.signal_server(Signal::SIGTERM);
        world.server_ended(SOON);
        world.boot_with(&[("FIREACTIONS_STOP_AT", "handover::prepared")]);
        let server = world.server_pid();
        world.signal_server(Signal::SIGHUP);
        let stands = |pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.contains(") T ")
        };
        let successor = world.wait(SOON, "the successor to stand still", || {
            world.all_processes().into_iter().find(|(pid, _)| *pid != server && stands(*pid))
        });
        world.signal_server(end);
        world.server_ended(SOON);
        let successor = Pid::from_raw(successor.0);
        match end {
            Signal::SIGTERM => {
                assert_eq!(world.all_processes(), [], "who stops a server means its successor, too");
            }
            _ => kill(successor, Signal::SIGCONT).unwrap(),
        }
        world.wait(SOON, "its end", || world.all_processes().is_empty().then_some(()));
        world.boot();
    }
    assert!(world.log().contains("has ended meanwhile"), "{}", world.log());
    world.finish();
}
