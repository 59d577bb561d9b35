//! A user inside a machine: programs, a shell, the console.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::{Setup, World, pool, text};

#[test]
fn programs_consoles_and_shells() {
    let world = World::start(Setup { pools: pool("default", 1, 1, ""), ..Setup::default() });
    let machine = world.wait_ready("default", 1)[0]["id"].as_str().unwrap().to_owned();

    // The exit code, both outputs, arguments and environment.
    let output = world.cli(&[
        "exec",
        "--env",
        "A=b c",
        &machine,
        "--",
        "sh",
        "-c",
        "echo out $A; echo err >&2; exit 42",
    ]);
    assert_eq!(text(&output.stdout), "out b c\n");
    assert_eq!(text(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(42), "{}", world.log());
    let output = world.exec(&machine, "kill -9 $$");
    assert_eq!(output.status.code(), Some(137));
    let output = world.cli(&["exec", "--user", "runner", &machine, "--", "id", "-u"]);
    assert_eq!(text(&output.stdout), "1000\n");
    let output = world.cli(&["exec", &machine, "--", "/no/such/program"]);
    assert!(matches!(output.status.code(), Some(126 | 127)), "{output:?}");
    assert!(text(&output.stderr).contains("/no/such/program"), "{}", text(&output.stderr));

    // Standard input, more of it than any buffer on the way holds, and its end.
    let mut command = world.command();
    let mut child = command
        .args(["exec", &machine, "--", "sha256sum"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), format!("{}  -\n", sha256(&bytes)));

    // What container engines and whoever needs randomness expect.
    let look = "grep -c ' / / .* shared:' /proc/self/mountinfo; cat /sys/class/misc/hw_random/rng_current";
    let output = world.exec(&machine, look);
    assert_eq!(text(&output.stdout), "1\nvirtio_rng.0\n", "{}", text(&output.stderr));

    // The console.
    assert!(world.exec(&machine, "for n in 1 2 3; do echo line $n >/dev/console; done").status.success());
    world.wait(Duration::from_secs(20), "the console's last line", || {
        let tail = text(&world.cli(&["logs", "--tail", "2", &machine]).stdout).replace('\r', "");
        (tail == "line 2\nline 3\n").then_some(())
    });
    assert!(text(&world.cli(&["logs", &machine]).stdout).contains("line 1"));

    // A beginning of the name is enough, a wrong one is explained.
    assert!(world.exec(&machine[..6], "true").status.success());
    let output = world.exec("nobody", "true");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("fireactions ps"), "{}", text(&output.stderr));
    login(&world, &machine);
    world.finish();
}

/// A shell with a terminal, as `script` gives one to the command line.
fn login(world: &World, machine: &str) {
    let socket = world.path("api.sock");
    let line = format!(
        "stty rows 33 cols 99; {} --socket {} login {machine}",
        env!("CARGO_BIN_EXE_fireactions"),
        socket.display()
    );
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "vt100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script (bsdutils) is needed");
    let mut typed = child.stdin.take().unwrap();
    let mut shown = child.stdout.take().unwrap();
    // What is typed before the shell is there would be lost on the way to raw mode.
    let mut seen = read_until(&mut shown, "# ");
    typed.write_all(b"tty; stty size; echo $TERM $((6 * 7)); exit 7\r").unwrap();
    shown.read_to_string(&mut seen).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7), "{seen}");
    for wanted in ["/dev/pts/", "33 99", "vt100 42"] {
        assert!(seen.contains(wanted), "no '{wanted}' in {seen:?}");
    }
}

/// What is read until `wanted` has come.
pub(crate) fn read_until(from: &mut impl Read, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(wanted.as_bytes()) {
        assert_eq!(from.read(&mut byte).unwrap(), 1, "ended before '{wanted}': {}", text(&seen));
        seen.push(byte[0]);
    }
    text(&seen)
}

fn sha256(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    text(&child.wait_with_output().unwrap().stdout)[..64].to_owned()
}
