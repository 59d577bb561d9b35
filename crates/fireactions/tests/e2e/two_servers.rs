//! Two servers on one host, as NixOS's two services are: each has a bridge, a subnet, a state and user ids of its own, and what
//! the other has is not there for it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::prepared;
use crate::world::{BOOT, Setup, UNTIL_TOLD, World, ended, pool, text};

/// The second server.
struct Second {
    socket: PathBuf,
    server: Child,
}

/// The world's configuration with other places, and with these changes.
fn config(world: &World, changes: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string(world.path("config.yaml")).unwrap();
    let usual = [("/state\n", "/second\n"), ("/api.sock", "/second.sock"), ("[default]", "[second]")];
    for (from, to) in usual.iter().chain(changes) {
        assert!(text.contains(from), "{from}: {text}");
        text = text.replace(from, to);
    }
    text
}

const NETWORK: (&str, &str) = ("pools:", "network: {bridge: second0, subnet: 10.99.0.0/24}\npools:");
const UIDS: (&str, &str) = ("vmm: {", "vmm: {uid_base: 700000, ");

impl Second {
    fn start(world: &World) -> Self {
        prepared::lend(&world.path("second"), true);
        fs::write(world.path("second.yaml"), config(world, &[NETWORK, UIDS])).unwrap();
        let server = world.server_command("second.yaml", &[]).spawn().unwrap();
        let second = Self { socket: world.path("second.sock"), server };
        world.wait(Duration::from_secs(30), "the second server", || {
            second.cli(&["pools", "list"]).status.success().then_some(())
        });
        second
    }

    fn cli(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fireactions"));
        command.arg("--socket").arg(&self.socket).args(args).output().unwrap()
    }

    fn job(&self, id: &str) -> Value {
        let output = self.cli(&["jobs", "show", id, "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    fn wait_job(&self, world: &World, id: &str, state: &str) -> Value {
        world.wait(BOOT, &format!("the second server's job to be {state}"), || {
            Some(self.job(id)).filter(|job| job["state"] == state)
        })
    }

    fn exec(&self, machine: &str, script: &str) -> Output {
        self.cli(&["exec", machine, "--", "sh", "-c", script])
    }

    /// By SIGTERM, which must end well.
    fn finish(self, world: &World) {
        kill(Pid::from_raw(i32::try_from(self.server.id()).unwrap()), Signal::SIGTERM).unwrap();
        let status = ended(self.server, Duration::from_secs(60));
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", world.log());
    }
}

#[test]
fn two_servers_share_a_host_and_no_machine() {
    // What a pool may reach by name of its network is still no way to another server's guests.
    let mut world = World::start(Setup {
        pools: pool("default", 1, 1, "    network: {allow: [10.0.0.0/8]}\n"),
        more: "shutdown: {mode: leave}".to_owned(),
        ..Setup::default()
    });
    let one = world.submit(&["--label", "default"], UNTIL_TOLD);
    let one_row = world.wait_job(&one, &["running"], BOOT);
    let second = Second::start(&world);
    let serve = "while :; do nc -l -p 7000 -e /bin/echo theirs; done";
    let output = second.cli(&["run", "--detach", "--label", "second", "--", "sh", "-c", serve]);
    let two = text(&output.stdout).trim().to_owned();
    let two_row = second.wait_job(&world, &two, "running");

    // Each has its tap on its own bridge, and its guest answers itself alone.
    let address = text(&second.exec(&two, "ip -4 -o addr show dev eth0 | sed 's/.*inet //; s,/.*,,'").stdout);
    let address = address.trim();
    assert!(address.starts_with("10.99.0."), "{address}");
    let fetch = format!("nc -w 5 {address} 7000 </dev/null");
    answers_itself(&world, &second, &two, &fetch);
    let across = world.exec(&one, &fetch);
    assert!(!across.status.success() && across.stdout.is_empty(), "{across:?}");

    // The first one dies and comes back. It looks for what nobody owns, and finds nothing of the other's.
    world.signal_server(Signal::SIGKILL);
    world.server_ended(Duration::from_secs(60));
    world.boot();
    world.wait(BOOT, "the machine to listen", || world.exec(&one, "true").status.success().then_some(()));
    assert_eq!(world.job(&one)["machine"], one_row["machine"]);
    assert_eq!(second.job(&two)["machine"], two_row["machine"]);
    answers_itself(&world, &second, &two, &fetch);
    world.tell(&one);
    world.wait_job(&one, &["succeeded"], BOOT);
    assert!(second.cli(&["jobs", "cancel", &two]).status.success());
    second.wait_job(&world, &two, "cancelled");
    second.finish(&world);
    world.finish();
}

fn answers_itself(world: &World, second: &Second, job: &str, fetch: &str) {
    world.wait(BOOT, "the guest to answer itself", || {
        (text(&second.exec(job, fetch).stdout) == "theirs\n").then_some(())
    });
}

#[test]
fn what_two_servers_may_not_share_is_said() {
    let world = World::start(Setup { pools: pool("default", 0, 1, ""), ..Setup::default() });
    let refused = |changes: &[(&str, &str)], words: &str| {
        fs::write(world.path("second.yaml"), config(&world, changes)).unwrap();
        let (server, path) = (env!("CARGO_BIN_EXE_fireactions"), world.path("second.yaml"));
        let output = world.in_namespace(&[server, "server", "--config", path.to_str().unwrap()]);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{words}: {said}");
    };
    refused(&[UIDS], "another fireactions server has the bridge 'fireactions0'");
    refused(&[NETWORK], "give this one a vmm.uid_base of its own");
    let overlap = ("pools:", "network: {bridge: second0, subnet: 172.30.1.0/24}\npools:");
    refused(&[UIDS, overlap], "the bridge 'fireactions0' has the addresses 172.30.0.0/22");
    world.finish();
}
