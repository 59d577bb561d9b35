//! Servers of a cluster, with a real NATS in their network namespace: who is there, and what of it is said.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use fireactions_testkit::real_nats::{self, NatsSetup, RealNats};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::forges::deliveries;
use crate::prepared;
use crate::world::{Setup, World, ended, pool, text};

const SOON: Duration = Duration::from_secs(30);

/// A NATS that is not running yet, in the world's network namespace.
fn stopped(world: &World, program: PathBuf) -> RealNats {
    let start = move || RealNats::start(&program, NatsSetup::default());
    let mut nats = world.namespace.inside(start);
    nats.kill();
    nats
}

fn resumed(world: &World, mut nats: RealNats) -> RealNats {
    world.namespace.inside(move || {
        nats.resume();
        nats
    })
}

/// Puts the world's server into the cluster.
fn join(world: &World, nats: &RealNats, host: &str, file: &str) {
    let text = fs::read_to_string(world.path(file)).unwrap();
    let cluster = format!(
        "cluster: {{name: ci, nats: {{urls: [\"{}\"]}}, host: {{name: {host}, zone: z1, labels: [SSD]}}}}\n",
        nats.url()
    );
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("cluster:")).collect();
    fs::write(world.path(file), cluster + &kept.join("\n")).unwrap();
}

fn cluster(world: &World, args: &[&str]) -> Output {
    let (program, config) = (env!("CARGO_BIN_EXE_fireactions"), world.path("config.yaml"));
    let config = ["--config", config.to_str().unwrap()];
    world.in_namespace(&[&[program, "cluster"], args, &config].concat())
}

fn hosts(world: &World) -> Vec<Value> {
    let output = cluster(world, &["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    status["hosts"].as_array().cloned().unwrap_or_default()
}

fn names(world: &World) -> Vec<String> {
    hosts(world).iter().map(|host| host["host"].as_str().unwrap().to_owned()).collect()
}

fn wait_names(world: &World, wanted: &[&str]) {
    world.wait(SOON, &format!("{wanted:?} to be there"), || (names(world) == wanted).then_some(()));
}

/// Another server in the same namespace, with what a server must have of its own.
fn second(world: &World, nats: &RealNats, host: &str) -> Child {
    if !Path::new(&world.path("second")).exists() {
        prepared::lend(&world.path("second"), false);
    }
    let mut text = fs::read_to_string(world.path("config.yaml")).unwrap();
    for (from, to) in [
        ("/state\n", "/second\n"),
        ("/api.sock", "/second.sock"),
        ("pools:", "network: {bridge: second0, subnet: 10.99.0.0/24}\npools:"),
        ("vmm: {", "vmm: {uid_base: 700000, "),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        text = text.replace(from, to);
    }
    // A forge's webhook, where there is one.
    text = text.replace("127.0.0.1:8070", "127.0.0.1:8071");
    fs::write(world.path("second.yaml"), text).unwrap();
    join(world, nats, host, "second.yaml");
    world.server_command("second.yaml", &[]).spawn().unwrap()
}

fn stop(world: &World, server: Child) {
    kill(Pid::from_raw(i32::try_from(server.id()).unwrap()), Signal::SIGTERM).unwrap();
    let status = ended(server, SOON);
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", world.log());
}

#[test]
fn servers_of_a_cluster_are_told_apart_and_say_what_they_have() {
    let Some(program) = real_nats::available("servers_of_a_cluster") else { return };
    let pools = pool("default", 1, 3, "");
    let mut world = World::new(Setup { pools, standin: true, ..Setup::default() });
    let nats = stopped(&world, program);
    join(&world, &nats, "one", "config.yaml");

    // A server needs no NATS to start and to work.
    world.boot();
    let output = cluster(&world, &["check"]);
    let said = text(&output.stdout);
    assert!(
        output.status.code() == Some(1) && said.contains("cannot be reached") && said.contains("1 problem"),
        "{said}{}",
        text(&output.stderr)
    );
    let nats = resumed(&world, nats);
    wait_names(&world, &["one"]);
    let job = world.submit(&[], "echo begun; hang");
    world.wait_log(&job, "begun", SOON);
    world.wait(SOON, "the job to be seen", || {
        let all = hosts(&world);
        (all.first()?["load"]["pools"]["default"]["machines"]["busy"] == 1).then_some(())
    });
    let host = &hosts(&world)[0];
    assert_eq!(
        (
            &host["zone"],
            &host["labels"][0],
            &host["load"]["vcpus"]["of"],
            &host["load"]["pools"]["default"]["max"]
        ),
        (&"z1".into(), &"ssd".into(), &16.into(), &3.into())
    );
    let said = text(&cluster(&world, &["check"]).stdout);
    assert!(said.contains("host 'one' is there") && said.contains("everything is in order"), "{said}");
    let said = text(&cluster(&world, &["status"]).stdout);
    assert!(said.contains("this host") && said.contains("no host leads anything"), "{said}");

    // A second one with the same name stays out and says so; with a name of its own it is there.
    let other = second(&world, &nats, "one");
    world.wait(SOON, "the second server to be refused", || {
        world.log().contains("another host is 'one' already").then_some(())
    });
    assert_eq!(names(&world), ["one"]);
    stop(&world, other);
    let other = second(&world, &nats, "two");
    wait_names(&world, &["one", "two"]);

    // One that is killed and comes back has its name again at once; one that stops is gone at once.
    let run = |world: &World| hosts(world).first().map(|host| host["run"].clone());
    let before = run(&world);
    world.signal_server(Signal::SIGKILL);
    world.server_ended(SOON);
    world.boot();
    world.wait(SOON, "the first server to be back", || (run(&world) != before).then_some(()));
    assert_eq!(names(&world), ["one", "two"]);
    stop(&world, other);
    assert_eq!(names(&world), ["one"]);
    assert!(world.cli(&["jobs", "cancel", &job]).status.success());
    world.wait_job(&job, &["cancelled"], SOON);
    drop(nats);
    world.finish();
}

/// What Gitea sends of a job that waits, signed.
fn delivery(world: &World, to: &str, secret: &str) -> String {
    let body = r#"{"action":"queued","workflow_job":{"id":7,"run_id":3,"name":"test","labels":["x"],"status":"queued","run_attempt":1},"repository":{"id":1,"name":"app","full_name":"acme/app","owner":{"id":1,"login":"acme"}}}"#;
    fs::write(world.path("body"), body).unwrap();
    let script = format!(
        "sum=$(openssl dgst -sha256 -hmac {secret} -r <$1 | cut -d' ' -f 1)
         curl -s -o /dev/null -w '%{{http_code}}' --data-binary @$1 -H 'content-type: application/json' -H 'x-gitea-event: workflow_job' \
           -H 'x-gitea-delivery: one' -H \"x-gitea-signature: $sum\" http://{to}/webhook/gitea"
    );
    let body = world.path("body");
    text(&world.in_namespace(&["sh", "-c", &script, "sh", body.to_str().unwrap()]).stdout)
}

#[test]
fn a_webhook_that_leads_to_one_host_is_heard_by_the_other() {
    let Some(program) = real_nats::available("a_webhook_that_leads_to_one_host") else { return };
    let secrets = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    // There is no Gitea: nobody else can tell of a job.
    let more = format!(
        "gitea: {{url: 'https://gitea.example.com', api_token_file: {}, webhook: {{listen: '127.0.0.1:8070', secret_file: {}}}}}\n",
        file("token", "token"),
        file("secret", "shared"),
    );
    let pools = pool("default", 0, 1, "")
        .replace("labels: [default]", "labels: [x]\n      organization: acme\n      forge: gitea");
    let mut world = World::new(Setup { pools, more, standin: true, ..Setup::default() });
    let nats = stopped(&world, program);
    join(&world, &nats, "one", "config.yaml");
    world.boot();
    let nats = resumed(&world, nats);
    let two = second(&world, &nats, "two");
    wait_names(&world, &["one", "two"]);

    assert_eq!(delivery(&world, "127.0.0.1:8071", "another"), "401");
    // The first may be on its way to a host that does not listen yet.
    world.wait(SOON, "the other host to hear of it", || {
        assert_eq!(delivery(&world, "127.0.0.1:8071", "shared"), "202");
        (deliveries(&world, "gitea", "taken") > 0).then_some(())
    });
    assert_eq!(deliveries(&world, "gitea", "forged"), 0);
    stop(&world, two);
    drop(nats);
    world.finish();
}

#[test]
fn without_a_cluster_nothing_is_asked_of_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    fs::write(&config, "pools: []\n").unwrap();
    for action in ["status", "check"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fireactions"));
        let output = command.args(["cluster", action, "--config"]).arg(&config).output().unwrap();
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains("this host is in no cluster"), "{said}");
    }
}
