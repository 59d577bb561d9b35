//! `fireactions top` in a real terminal, at a server that comes and goes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::inside::read_until;
use crate::world::{Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(60);

impl World {
    /// The program in a terminal, whose state is told afterwards.
    fn top(&self) -> Child {
        let line = format!(
            "stty rows 30 cols 150; sh -c 'echo $$ >{}; exec {} --socket {} top'; echo \"left with $?\"; stty -a",
            self.path("top.pid").display(),
            env!("CARGO_BIN_EXE_fireactions"),
            self.path("api.sock").display(),
        );
        Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script (bsdutils) is needed")
    }
}

/// The rest of what is shown: the terminal is as it was, and who typed sees it again.
fn restored(top: &mut Child) -> String {
    let mut rest = String::new();
    top.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert!(top.wait().unwrap().success(), "{rest}");
    let (before, after) = rest.rsplit_once("left with ").unwrap_or_else(|| panic!("{rest:?}"));
    assert!(before.contains("\x1b[?1049l") && before.contains("\x1b[?25h"), "{rest:?}");
    let words: Vec<&str> = after.split([' ', ';', '\r', '\n']).collect();
    for mode in ["icanon", "echo", "isig", "opost"] {
        assert!(words.contains(&mode), "not {mode}: {after}");
    }
    after.lines().next().unwrap().trim().to_owned()
}

#[test]
fn the_overview_in_a_terminal_over_restarts_of_the_server() {
    let more = "shutdown: {mode: leave}".to_owned();
    let mut world =
        World::start(Setup { pools: pool("default", 1, 4, ""), more, standin: true, ..Setup::default() });
    let refused = world.cli(&["top"]);
    let said = text(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("draws on a terminal") && said.contains("fireactions ps"),
        "{said}"
    );
    let job = world.submit(&["--name", "builds"], "echo begun; wait");
    world.wait_job(&job, &["running"], SOON);
    world.submit(&["--name", "waits", "--label", "gpu"], "true");

    let mut top = world.top();
    let mut typed = top.stdin.take().unwrap();
    let mut shown = top.stdout.take().unwrap();
    // The pools, with the host above them.
    let mut seen = read_until(&mut shown, "active");
    assert!(seen.contains("CPUs") && seen.contains("Addresses"), "{seen:?}");
    let mut press = |key: &str, wanted: &str| {
        typed.write_all(key.as_bytes()).unwrap();
        seen += &read_until(&mut shown, wanted);
    };
    press("\t", "builds");
    press("\t", "running");
    let machine = world.json(&["jobs", "show", &job])["machine"].as_str().unwrap().to_owned();
    press(&format!("/{machine}\r"), "only:");
    press("\r", "Phases:");
    // Without its server it says so, and comes back to the next one.
    world.signal_server(Signal::SIGKILL);
    world.server_ended(SOON);
    press("", "Not");
    world.boot();
    // Only what is drawn anew is written: words that were not there before are waited for.
    press("\r", "MEMORY");
    press("\x1b", "ready");
    press("\x1b[Z", "builds");
    let later = world.submit(&["--name", "afterwards"], "echo begun; wait");
    press("", "afterwards");
    assert!(seen.contains("waits"), "{seen:?}");
    typed.write_all(b"q").unwrap();
    top.stdout = Some(shown);
    assert_eq!(restored(&mut top), "0");

    // Told to end, it leaves the terminal as it was, too.
    let mut top = world.top();
    let mut shown = top.stdout.take().unwrap();
    read_until(&mut shown, "active");
    let pid: i32 = fs::read_to_string(world.path("top.pid")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    top.stdout = Some(shown);
    assert_eq!(restored(&mut top), "0");
    for job in [job, later] {
        assert!(world.cli(&["exec", &job, "--", "tell"]).status.success());
        world.wait_job(&job, &["succeeded"], SOON);
    }
    world.finish();
}
