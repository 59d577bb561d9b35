//! The page, in a real browser at a real server. What is looked at there is in web/tests/browser; here are the servers.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use std::time::Duration;

use fireactions_testkit::browser;
use fireactions_testkit::github::JobRequest;
use fireactions_testkit::oidc_provider::{self, OidcProvider};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::github::{self, Octo};
use crate::world::{Setup, World, pool};

const ADDRESS: &str = "127.0.0.1:8080";
const VIEWER: &str = "viewer-viewer-viewer";
const ADMIN: &str = "admin-admin-admin-admin";

/// A world whose API listens for a browser.
fn world(pools: String, standin: bool) -> World {
    World::new(Setup { pools, more: format!("bind_address: {ADDRESS}"), standin, ..Setup::default() })
}

/// Changes the configuration of a world without a server.
fn configure(world: &World, change: impl FnOnce(String) -> String) {
    let path = world.path("config.yaml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(path, change(config)).unwrap();
}

/// Where pictures go, to be looked at.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/page")
}

/// Looks at the world's page as web/tests/browser/`case` says. What it asks for, `deed` does.
fn look(web: &Path, world: &mut World, case: &str, mut deed: impl FnMut(&mut World, &str)) {
    let socket = world.path("api.sock");
    let cli = json!([env!("CARGO_BIN_EXE_fireactions"), "--socket", socket]);
    let errors = world.path("browser.log");
    let mut node = world.namespace.command("setpriv");
    node.args(["--pdeathsig", "TERM", "node"])
        .arg(web.join("tests/browser/main.mjs"))
        .arg(case)
        .env("PAGE_URL", format!("http://{ADDRESS}/"))
        .env("PAGE_CLI", cli.to_string())
        .env("PAGE_PICTURES", pictures())
        .env("PAGE_TOKENS", json!({"viewer": VIEWER, "admin": ADMIN}).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&errors).unwrap());
    let mut node = node.spawn().unwrap();
    let mut answers = node.stdin.take().unwrap();
    let mut measured = Vec::new();
    let mut passed = false;
    for line in BufReader::new(node.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split_once(' ') {
            Some(("ask", what)) => {
                deed(world, what);
                answers.write_all(b"done\n").unwrap();
            }
            Some(("measured", what)) => measured.push(what.to_owned()),
            _ => passed |= line == "passed",
        }
    }
    let status = node.wait().unwrap();
    let said = fs::read_to_string(&errors).unwrap();
    assert!(status.success() && passed, "{case}: {status}\n{said}\n{}", world.log());
    if !measured.is_empty() {
        let text = measured.join("\n") + "\n";
        fs::create_dir_all(pictures()).unwrap();
        fs::write(pictures().join(format!("{case}.txt")), text).unwrap();
    }
}

fn nothing(_: &mut World, what: &str) {
    panic!("the browser's part asks for {what}");
}

#[test]
fn a_job_appears_runs_and_is_cancelled() {
    let Some(web) = browser::available("page::a_job_appears_runs_and_is_cancelled") else { return };
    let mut world = world(pool("default", 1, 4, ""), true);
    world.boot();
    look(&web, &mut world, "job", nothing);
    world.finish();
}

#[test]
fn a_job_that_waits_says_why_and_pools_are_managed() {
    let Some(web) = browser::available("page::a_job_that_waits_says_why_and_pools_are_managed") else {
        return;
    };
    let mut world = world(pool("default", 1, 4, ""), true);
    world.boot();
    look(&web, &mut world, "waiting", nothing);
    world.finish();
}

#[test]
fn a_shell_in_a_microvm_and_a_hostile_log() {
    let Some(web) = browser::available("page::a_shell_in_a_microvm_and_a_hostile_log") else { return };
    let mut world = world(pool("default", 1, 1, ""), false);
    world.boot();
    look(&web, &mut world, "shell", |world, what| match what {
        "replace" => world.replace(),
        other => nothing(world, other),
    });
    world.finish();
}

#[test]
fn servers_come_and_go_under_the_open_page() {
    let Some(web) = browser::available("page::servers_come_and_go_under_the_open_page") else { return };
    let mut world = world(pool("default", 1, 2, ""), true);
    world.boot();
    look(&web, &mut world, "handover", |world, what| match what {
        "replace" => world.replace(),
        "stop" => {
            world.signal_server(Signal::SIGTERM);
            assert!(world.server_ended(crate::world::BOOT).success(), "{}", world.log());
        }
        "start" => world.boot(),
        other => nothing(world, other),
    });
    world.finish();
}

/// Gives the world's API tokens.
fn with_tokens(world: &World) {
    let tokens = [("viewer", VIEWER), ("admin", ADMIN)].map(|(role, token)| {
        let file = world.path(role);
        fs::write(&file, token).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        format!("  - {{name: {role}, role: {role}, file: {}}}\n", file.display())
    });
    configure(world, |config| config + "api_tokens:\n" + &tokens.concat());
}

#[test]
fn who_may_not_is_refused_and_so_are_other_pages() {
    let Some(web) = browser::available("page::who_may_not_is_refused_and_so_are_other_pages") else { return };
    let mut world = world(pool("default", 1, 2, ""), true);
    with_tokens(&world);
    world.boot();
    look(&web, &mut world, "rights", nothing);
    let log = fs::read_to_string(world.path("server.log")).unwrap();
    assert!(!log.contains(VIEWER) && !log.contains(ADMIN), "a token is in the log");
    world.finish();
}

/// By a provider that is another site to the browser, as it is in life.
#[test]
fn people_log_in_by_their_provider() {
    let test = "page::people_log_in_by_their_provider";
    let (Some(web), Some(packages)) = (browser::available(test), oidc_provider::available(test)) else {
        return;
    };
    let mut world = world(pool("default", 1, 2, ""), true);
    let back = "http://localhost:8080/api/v1/session/oidc/callback";
    let provider = world.namespace.inside(move || OidcProvider::start(&packages, back, false));
    let secret = world.path("oidc-secret");
    fs::write(&secret, "s3cret+of/the=client").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    configure(&world, |config| {
        format!(
            "{config}api_oidc:\n  issuer: {}\n  url: http://localhost:8080/\n  client_id: fire:actions\n  \
             client_secret_file: {}\n  name: Acme\n  scopes: [profile, groups]\n  \
             groups: {{operations: admin, developers: viewer}}\n",
            provider.issuer,
            secret.display(),
        )
    });
    world.boot();
    look(&web, &mut world, "oidc", nothing);
    drop(provider);
    world.finish();
}

#[test]
fn what_a_forge_still_lets_be_asked_is_shown_by_forge() {
    let Some(web) = browser::available("page::what_a_forge_still_lets_be_asked_is_shown_by_forge") else {
        return;
    };
    let octo = Octo::new("127.0.0.1", 1);
    octo.fake.set_rate_limit(1000);
    let more = format!("bind_address: {ADDRESS}\n{}", octo.more);
    let pools = octo.pools.clone() + &pool("default", 0, 1, "");
    let mut world = World::new(Setup { pools, more, standin: true, ..Setup::default() });
    github::open(&octo.fake, &world);
    world.boot();
    look(&web, &mut world, "limits", |_, what| match what {
        // The next answer tells of it: the server asks for what it does not know of the job.
        "exhaust" => {
            octo.fake.exhaust_rate_limit(Duration::from_secs(1800));
            octo.fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
        }
        other => panic!("the browser's part asks for {other}"),
    });
    world.finish();
}

#[test]
fn a_proxy_serves_the_socket_below_a_path() {
    let Some(web) = browser::available("page::a_proxy_serves_the_socket_below_a_path") else { return };
    let mut world = world(pool("default", 1, 2, ""), true);
    with_tokens(&world);
    world.boot();
    look(&web, &mut world, "proxied", nothing);
    world.finish();
}

#[test]
fn names_and_times_that_are_none_break_nothing() {
    let Some(web) = browser::available("page::names_and_times_that_are_none_break_nothing") else { return };
    let mut world = world(pool("default", 0, 1, ""), true);
    world.boot();
    look(&web, &mut world, "hostile", nothing);
    world.finish();
}

#[test]
fn every_view_is_for_everybody_and_fits() {
    let Some(web) = browser::available("page::every_view_is_for_everybody_and_fits") else { return };
    let pools = pool("default", 2, 4, "") + &pool("another", 0, 2, "");
    let mut world = world(pools, true);
    world.boot();
    world.wait_ready("default", 2);
    look(&web, &mut world, "views", nothing);
    world.finish();
}

#[test]
fn a_long_log_is_shown_in_part_and_searched_as_a_whole() {
    let Some(web) = browser::available("page::a_long_log_is_shown_in_part_and_searched_as_a_whole") else {
        return;
    };
    let mut world = world(pool("default", 1, 2, ""), true);
    world.boot();
    look(&web, &mut world, "longlog", nothing);
    world.finish();
}

#[test]
fn two_hundred_machines_are_shown() {
    let Some(web) = browser::available("page::two_hundred_machines_are_shown") else { return };
    let mut world = world(pool("default", 200, 200, ""), true);
    configure(&world, |config| {
        config.replace("{vcpus: 8, memory_mib: 8192}", "{vcpus: 400, memory_mib: 409600}")
    });
    world.boot();
    look(&web, &mut world, "many", |world, what| match what {
        "fill" => {
            world.wait_ready("default", 200);
        }
        "churn" => {
            for n in 0..40 {
                world.submit(&[], &format!("echo job {n}; sleep 0.2"));
            }
        }
        other => nothing(world, other),
    });
    world.finish();
}
