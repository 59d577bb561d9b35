//! A real Prometheus reads a real server's metrics, with the rules of `packaging/observability`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Fake, job, job_id, machine};
use fireactions_api::*;
use fireactions_model::*;
use fireactions_testkit::port::ReservedPort;
use fireactions_testkit::skip;
use serde_json::Value;

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/observability")
}

/// Whether Prometheus is here. Debian's package `prometheus` has it, which `scripts/setup --test` installs.
fn is_here(test: &str) -> bool {
    let found = |name: &str| {
        let asked = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    let here = found("promtool") && found("prometheus");
    if !here {
        skip::say(skip::Kind::Prometheus, test, "there is no promtool or no prometheus in PATH");
    }
    here
}

/// Names of series in a text.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')) {
        // A rule's own name has colons.
        if (word.starts_with("fireactions_") || word.starts_with("process_")) && !word.contains(':') {
            names.insert(word.to_owned());
        }
    }
    names
}

/// Everything that can happen, so that each series is there.
fn happen(fake: &Fake) {
    let pool = PoolName::new("default").unwrap();
    let send = |event| fake.events.send(event).unwrap();
    for phase in Phase::ALL {
        send(Event::Phase { pool: pool.clone(), phase, micros: 2_000_000 });
    }
    let failure = Some(Failure { kind: FailureKind::Guest, message: "no".into() });
    let now = jiff::Timestamp::now();
    let (state, times) =
        (MachineState::Ready, MachineView { created_at: now, state_since: now, ..machine() });
    send(Event::Machine { machine: Arc::new(MachineView { state, failure, ..times }) });
    send(Event::MachineGone { id: machine().id, pool: pool.clone() });
    let ran = JobRecord { attempt: 2, queued_at: now, started_at: Some(now), ..job(JobState::Failed) };
    send(Event::Job { job: Box::new(ran) });
    send(Event::PickedUp { job: job_id(), pool: pool.clone(), micros: 3_000_000 });
    send(Event::Started { pool: pool.clone(), how: StartMode::Boot, fallback: Some("damaged".into()) });
    let limit = RateLimit {
        credential: "app 1".to_owned(),
        resource: "core".to_owned(),
        limit: 5000,
        remaining: 4990,
        reset_at: Some(now),
        blocked_until: None,
    };
    *fake.forges.lock().unwrap() = vec![ForgeView {
        name: ForgeName::github(),
        oldest: [(pool, now)].into(),
        remote: Some(RemoteView {
            registered: 3,
            requests: 8,
            deliveries: [("taken", 5), ("forged", 1)].into(),
            limits: vec![limit],
        }),
    }];
}

/// Serves the metrics as a server does at `metrics.address`.
async fn metrics(fake: Arc<Fake>) -> (Api, SocketAddr) {
    let api = Api::new(fake, Limits::default());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listen::serve(listener, api.metrics_router(), api.clone(), 32));
    (api, address)
}

/// Asks until the answer is as it should be. The last answer is in the error.
async fn until<T>(url: &str, right: impl Fn(&Value) -> Option<T>) -> T {
    let mut last = String::new();
    let asked = async {
        loop {
            if let Ok(answer) = reqwest::get(url).await {
                last = answer.text().await.unwrap_or_default();
                if let Some(found) = serde_json::from_str(&last).ok().as_ref().and_then(&right) {
                    return found;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), asked).await;
    found.unwrap_or_else(|_| panic!("{url} says {last}"))
}

#[test]
fn promtool_finds_the_rules_right_and_they_do_what_they_should() {
    if !is_here("promtool_finds_the_rules_right_and_they_do_what_they_should") {
        return;
    }
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "rules.test.yml"]] {
        let checked = Command::new("promtool").args(arguments).current_dir(files()).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn every_series_of_the_rules_and_the_dashboard_is_served() {
    let fake = Fake::new();
    let (_api, address) = metrics(fake.clone()).await;
    happen(&fake);
    let url = format!("http://{address}/metrics");
    let mut served = BTreeSet::new();
    // The last of the events is counted when it is there.
    for _ in 0..200 {
        served = names(&reqwest::get(&url).await.unwrap().text().await.unwrap());
        if served.contains("fireactions_machine_start_fallbacks_total") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for file in ["rules.yml", "dashboard.json"] {
        let text = std::fs::read_to_string(files().join(file)).unwrap();
        let missing: Vec<_> = names(&text).difference(&served).cloned().collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}, of {served:#?}");
    }
    let rules = std::fs::read_to_string(files().join("rules.yml")).unwrap();
    let dashboard: Value =
        serde_json::from_slice(&std::fs::read(files().join("dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        let words =
            target["expr"].as_str().unwrap().split(|c: char| !(c.is_alphanumeric() || "_:".contains(c)));
        for rule in words.filter(|word| word.contains(":fireactions_")) {
            assert!(rules.contains(&format!("record: {rule}\n")), "the dashboard asks for {rule}");
        }
    }
}

#[tokio::test]
async fn a_real_prometheus_reads_them_and_evaluates_every_rule() {
    if !is_here("a_real_prometheus_reads_them_and_evaluates_every_rule") {
        return;
    }
    let fake = Fake::new();
    let (_api, address) = metrics(fake.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("prometheus.yml");
    let rules = std::fs::canonicalize(files().join("rules.yml")).unwrap();
    let text = format!(
        "global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}\nrule_files: [{}]\nscrape_configs:\n  - job_name: \
         fireactions\n    static_configs: [{{targets: ['{address}']}}]\n",
        rules.display()
    );
    std::fs::write(&config, text).unwrap();
    let port = ReservedPort::new((Ipv4Addr::LOCALHOST, 0).into());
    let _prometheus = tokio::process::Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address={}", port.address()))
        .arg("--log.level=error")
        .arg("--enable-feature=exemplar-storage")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ask = |query: &str| format!("http://{}/api/v1/query?query={query}", port.address());
    let one = |answer: &Value| answer["data"]["result"].as_array()?.first().cloned();
    let built = until(&ask("fireactions_build_info"), one).await;
    assert_eq!(built["metric"]["version"], "1.2.3");
    // What happens between two looks is a rate.
    let before = until(&ask("fireactions_pool_runners_max"), one).await;
    assert_eq!(before["value"][1], "3");
    happen(&fake);
    let all = format!("http://{}/api/v1/rules", port.address());
    let evaluated = until(&all, |answer| {
        let groups = answer["data"]["groups"].as_array()?;
        let rules: Vec<_> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        let well = |rule: &&&Value| rule["health"] == "ok";
        (!rules.is_empty() && rules.iter().all(|rule| well(&rule))).then_some(rules.len())
    });
    assert_eq!(evaluated.await, 16);
    let full = until(&ask("pool:fireactions_runners:used_ratio"), one).await;
    assert_eq!(full["metric"]["pool"], "default");
    // A queue-to-start histogram that Prometheus can make quantiles of.
    let counted = until(&ask("fireactions_job_start_seconds_count"), one).await;
    assert_eq!(counted["value"][1], "2");
    // With a job beside a bucket, by whose trace Grafana goes on.
    for series in ["fireactions_job_start_seconds_bucket", "fireactions_job_pickup_seconds_bucket"] {
        let query = format!("query_exemplars?query={series}&start=0&end=9999999999");
        let exemplars = format!("http://{}/api/v1/{query}", port.address());
        let one =
            until(&exemplars, |answer| answer["data"][0]["exemplars"].as_array()?.first().cloned()).await;
        assert_eq!(one["labels"]["job_id"], job_id().as_str(), "{series}");
        assert_eq!(one["labels"]["trace_id"], job_id().trace_id().to_string(), "{series}");
    }
}

#[tokio::test]
async fn exemplars_are_for_those_who_ask_for_openmetrics() {
    let fake = Fake::new();
    let (_api, address) = metrics(fake.clone()).await;
    happen(&fake);
    let url = format!("http://{address}/metrics");
    let get = async |accept: Option<&str>| {
        let mut request = reqwest::Client::new().get(&url);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        request.send().await.unwrap().text().await.unwrap()
    };
    let exemplar = format!(" # {{trace_id=\"{}\",job_id=\"{}\"}} 3.0 ", job_id().trace_id(), job_id());
    let asked = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let mut with = String::new();
    // The last of the events is counted when it is there.
    for _ in 0..200 {
        with = get(Some(asked)).await;
        if with.contains("fireactions_machine_start_fallbacks_total") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(with.matches(&exemplar).count(), 2, "{with}");
    for accept in [None, Some("text/plain;version=0.0.4,*/*;q=0.1")] {
        let without = get(accept).await;
        assert!(!without.contains("trace_id") && without.ends_with("# EOF\n"));
        let bucket = |text: &str| {
            let line = "fireactions_job_pickup_seconds_bucket{le=\"5.0\",pool=\"default\"} 1";
            text.lines().filter(|one| one.starts_with(line)).map(str::len).next()
        };
        assert!(bucket(&without) < bucket(&with) && bucket(&without).is_some(), "{without}");
    }
}
