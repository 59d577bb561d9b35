//! What Prometheus reads.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Server, job_id, machine, serve, serve_compat};
use fireactions_api::Limits;
use fireactions_model::*;

/// The metrics once this series is among them, which the last of the events makes; or as they are after a while.
async fn counted(server: &Server, series: &str) -> String {
    let mut text = String::new();
    for _ in 0..100 {
        text = server.client.metrics().await.unwrap();
        if sample(&text, series).is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    text
}

fn sample(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test]
async fn what_forges_are_asked_and_tell_becomes_series() {
    let server = serve(Limits::default()).await;
    let pool = PoolName::new("default").unwrap();
    let now = jiff::Timestamp::now();
    let limit = |credential: &str, blocked: bool| RateLimit {
        credential: credential.to_owned(),
        resource: "core".to_owned(),
        limit: 5000,
        remaining: 4990,
        reset_at: Some(jiff::Timestamp::from_second(1_800_000_000).unwrap()),
        blocked_until: blocked.then_some(now + jiff::SignedDuration::from_secs(60)),
    };
    let view = |limits| ForgeView {
        name: ForgeName::github(),
        oldest: [(pool.clone(), now - jiff::SignedDuration::from_secs(30))].into(),
        remote: Some(RemoteView {
            registered: 3,
            requests: 8,
            deliveries: [("taken", 5), ("forged", 1)].into(),
            limits,
        }),
    };
    let local = ForgeView {
        name: ForgeName::local(),
        oldest: [(pool.clone(), now - jiff::SignedDuration::from_secs(10))].into(),
        remote: None,
    };
    *server.fake.forges.lock().unwrap() =
        vec![local.clone(), view(vec![limit("app 1", false), limit("token", true)])];
    let text = server.client.metrics().await.unwrap();
    let value =
        |text: &str, series: &str| sample(text, series).unwrap_or_else(|| panic!("{series} in:\n{text}"));
    for (series, expected) in [
        ("fireactions_actions_cache_hits_total", 3.0),
        ("fireactions_registry_cache_free_bytes", 8.0),
        ("fireactions_registry_cache_evicted_bytes_total", 9.0),
        ("fireactions_registry_cache_full", 1.0),
        ("fireactions_registry_cache_hits_total{registry=\"docker.io\"}", 5.0),
        ("fireactions_registry_cache_misses_total{registry=\"docker.io\"}", 6.0),
        ("fireactions_registry_cache_sent_bytes_total{registry=\"docker.io\"}", 7.0),
        ("fireactions_registry_cache_upstream_errors_total{registry=\"docker.io\"}", 4.0),
        ("fireactions_registry_cache_offline{registry=\"docker.io\"}", 1.0),
        ("fireactions_actions_cache_misses_total", 2.0),
        ("fireactions_actions_cache_size_bytes", 3.0),
        ("fireactions_forge_requests_total{forge=\"github\"}", 8.0),
        ("fireactions_forge_runners_registered_total{forge=\"github\"}", 3.0),
        ("fireactions_forge_webhook_deliveries_total{forge=\"github\",result=\"taken\"}", 5.0),
        ("fireactions_forge_webhook_deliveries_total{forge=\"github\",result=\"forged\"}", 1.0),
        ("fireactions_forge_rate_limit{forge=\"github\",credential=\"token\",resource=\"core\"}", 5000.0),
        (
            "fireactions_forge_rate_limit_remaining{forge=\"github\",credential=\"app 1\",resource=\"core\"}",
            4990.0,
        ),
        (
            "fireactions_forge_rate_limit_reset_timestamp_seconds{forge=\"github\",credential=\"app 1\",resource=\"core\"}",
            1_800_000_000.0,
        ),
        (
            "fireactions_forge_rate_limit_blocked_seconds{forge=\"github\",credential=\"app 1\",resource=\"core\"}",
            0.0,
        ),
    ] {
        assert_eq!(sample(&text, series), Some(expected), "{series} in:\n{text}");
    }
    let blocked = "fireactions_forge_rate_limit_blocked_seconds{forge=\"github\",credential=\"token\",resource=\"core\"}";
    assert!((1.0..=60.0).contains(&value(&text, blocked)), "{text}");
    // The older of the two forges' jobs.
    let age = "fireactions_pool_queue_age_seconds{pool=\"default\"}";
    assert!(value(&text, age) >= 30.0, "{text}");

    // A credential that went takes its series along, and an empty queue has no age.
    let quiet = ForgeView { oldest: [].into(), ..view(vec![limit("token", false)]) };
    *server.fake.forges.lock().unwrap() = vec![ForgeView { oldest: [].into(), ..local }, quiet];
    let text = server.client.metrics().await.unwrap();
    assert!(!text.contains("app 1"), "{text}");
    assert_eq!((sample(&text, age), sample(&text, blocked)), (Some(0.0), Some(0.0)));
}

#[tokio::test]
async fn views_and_events_become_series() {
    let server = serve(Limits::default()).await;
    let pool = PoolName::new("default").unwrap();
    let send = |event| server.fake.events.send(event).unwrap();
    for phase in Phase::ALL {
        send(Event::Phase { pool: pool.clone(), phase, micros: 2_000_000 });
    }
    let now = jiff::Timestamp::now();
    let held = MachineView {
        id: MachineId::from_random([5; 8]),
        created_at: now,
        state_since: now,
        state: MachineState::Held,
        failure: Some(Failure { kind: FailureKind::Job, message: "exit code 1".into() }),
        ..machine()
    };
    server.fake.host.lock().unwrap().drained =
        Some(Drained { since: jiff::Timestamp::UNIX_EPOCH, why: String::new() });
    send(Event::Machine { machine: Arc::new(held) });
    let failed = MachineView {
        failure: Some(Failure { kind: FailureKind::Guest, message: "no".into() }),
        created_at: now,
        state_since: now,
        ..machine()
    };
    let queued_at = now;
    let ran = |state| JobRecord {
        attempt: 2,
        queued_at,
        assigned_at: Some(now),
        started_at: Some(queued_at + jiff::SignedDuration::from_secs(4)),
        ..crate::common::job(state)
    };
    send(Event::PickedUp { job: job_id(), pool: pool.clone(), micros: 3_000_000 });
    // What the server before has counted goes on.
    let (adopted, began) = (MachineId::from_random([6; 8]), jiff::Timestamp::UNIX_EPOCH);
    for state in [MachineState::Ready, MachineState::Busy] {
        send(Event::Machine { machine: Arc::new(MachineView { id: adopted.clone(), state, ..machine() }) });
    }
    let old = JobRecord { id: JobId::from_random([6; 8]), attempt: 3, ..ran(JobState::Running) };
    let old = JobRecord { queued_at: began, assigned_at: Some(began), started_at: Some(began), ..old };
    send(Event::Job { job: Box::new(old) });
    // The same thing told twice is counted once.
    for _ in 0..2 {
        send(Event::Machine { machine: Arc::new(failed.clone()) });
        send(Event::Job { job: Box::new(ran(JobState::Running)) });
    }
    for _ in 0..2 {
        send(Event::Job { job: Box::new(ran(JobState::Failed)) });
    }
    send(Event::Started { pool: pool.clone(), how: StartMode::Snapshot, fallback: None });
    send(Event::Started { pool, how: StartMode::Boot, fallback: Some("its template is damaged".into()) });
    let text = counted(&server, "fireactions_machine_start_fallbacks_total{pool=\"default\"}").await;
    let expected = [
        ("fireactions_up", 1.0),
        ("fireactions_ready", 0.0),
        ("fireactions_host_drained", 1.0),
        ("fireactions_machines{pool=\"default\",state=\"held\"}", 0.0),
        ("fireactions_pool_runners_current{pool=\"default\"}", 1.0),
        ("fireactions_pool_runners_min{pool=\"default\"}", 1.0),
        ("fireactions_pool_runners_max{pool=\"default\"}", 3.0),
        ("fireactions_pool_jobs_queued{pool=\"default\"}", 2.0),
        ("fireactions_machines{pool=\"default\",state=\"busy\"}", 1.0),
        ("fireactions_machines{pool=\"default\",state=\"ready\"}", 0.0),
        ("fireactions_jobs{state=\"queued\"}", 2.0),
        ("fireactions_jobs{state=\"running\"}", 0.0),
        // The one whose job failed did what it should.
        ("fireactions_machines_created_total{pool=\"default\"}", 2.0),
        ("fireactions_machines_failed_total{pool=\"default\"}", 1.0),
        ("fireactions_job_start_seconds_count{pool=\"default\"}", 2.0),
        ("fireactions_job_start_seconds_sum{pool=\"default\"}", 7.0),
        ("fireactions_job_pickup_seconds_sum{pool=\"default\"}", 3.0),
        ("fireactions_jobs_finished_total{pool=\"default\",state=\"failed\"}", 1.0),
        ("fireactions_jobs_retried_total{pool=\"default\"}", 1.0),
        ("fireactions_machine_starts_total{pool=\"default\",how=\"snapshot\"}", 1.0),
        ("fireactions_machine_starts_total{pool=\"default\",how=\"boot\"}", 1.0),
        ("fireactions_machine_start_fallbacks_total{pool=\"default\"}", 1.0),
    ];
    for (series, value) in expected {
        assert_eq!(sample(&text, series), Some(value), "{series} in:\n{text}");
    }
    for phase in Phase::ALL {
        let series = format!("fireactions_phase_seconds_sum{{pool=\"default\",phase=\"{phase}\"}}");
        assert_eq!(sample(&text, &series), Some(2.0), "{series}");
    }
    assert!(sample(&text, "process_resident_memory_bytes").unwrap() > 1e6);
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn names_of_other_programs_are_there_when_asked_for() {
    let server = serve(Limits::default()).await;
    let names = ["fireactions_server_up", "fireactions_pool_status", "fireactions_pool_runners_desired"];
    let text = server.client.metrics().await.unwrap();
    assert!(names.iter().all(|name| !text.contains(name)), "{text}");

    let server = serve_compat().await;
    {
        let mut pool = server.fake.pool.lock().unwrap();
        let runner = GithubRunner::new(GithubScope::organization("acme").unwrap());
        pool.spec.forge = Some(PoolForge { name: ForgeName::github(), runner: ForgeRunner::Github(runner) });
        pool.paused = true;
        server.fake.machine.lock().unwrap().state = MachineState::Booting;
    }
    let now = jiff::Timestamp::now();
    let failed = MachineView {
        failure: Some(Failure { kind: FailureKind::Guest, message: "no".into() }),
        created_at: now,
        ..machine()
    };
    let fine = MachineView {
        id: MachineId::from_random([5; 8]),
        state: MachineState::Ready,
        created_at: now,
        state_since: now + jiff::SignedDuration::from_secs(2),
        ..machine()
    };
    // Ready only once, however often it is told.
    let told = Event::Machine { machine: Arc::new(fine.clone()) };
    let gone = Event::MachineGone { id: fine.id.clone(), pool: fine.pool.clone() };
    for event in [Event::Machine { machine: Arc::new(failed) }, told.clone(), told, gone] {
        server.fake.events.send(event).unwrap();
    }
    let text = counted(&server, "fireactions_machines_gone_total{pool=\"default\"}").await;
    let own = "pool=\"default\",organization=\"acme\"";
    let operations = |direction: &str, status: &str| {
        format!("fireactions_scale_operations_total{{{own},direction=\"{direction}\",status=\"{status}\"}}")
    };
    for (series, value) in [
        // 0.4
        ("fireactions_server_up".to_owned(), 1.0),
        ("fireactions_pool_total".to_owned(), 1.0),
        ("fireactions_pool_status{pool=\"default\"}".to_owned(), 0.0),
        ("fireactions_pool_current_runners_count{pool=\"default\"}".to_owned(), 1.0),
        ("fireactions_pool_max_runners_count{pool=\"default\"}".to_owned(), 3.0),
        ("fireactions_pool_min_runners_count{pool=\"default\"}".to_owned(), 1.0),
        ("fireactions_pool_scale_requests{pool=\"default\"}".to_owned(), 2.0),
        ("fireactions_pool_scale_successes{pool=\"default\"}".to_owned(), 1.0),
        ("fireactions_pool_scale_failures{pool=\"default\"}".to_owned(), 1.0),
        // 1.x and 2.x
        ("fireactions_pools_total".to_owned(), 1.0),
        (format!("fireactions_pool_runners_current{{{own}}}"), 1.0),
        (format!("fireactions_pool_runners_desired{{{own}}}"), 1.0),
        (format!("fireactions_pool_runners_pending{{{own}}}"), 1.0),
        (format!("fireactions_pool_scale_requests_total{{{own}}}"), 3.0),
        (operations("up", "success"), 1.0),
        (operations("up", "failure"), 1.0),
        (operations("down", "success"), 1.0),
        ("fireactions_scale_duration_seconds_sum{pool=\"default\"}".to_owned(), 2.0),
        ("fireactions_scale_duration_seconds_count{pool=\"default\"}".to_owned(), 1.0),
        // Ours are there, too.
        ("fireactions_machine_ready_seconds_sum{pool=\"default\"}".to_owned(), 2.0),
        ("fireactions_up".to_owned(), 1.0),
        ("fireactions_pool_paused{pool=\"default\"}".to_owned(), 1.0),
    ] {
        assert_eq!(sample(&text, &series), Some(value), "{series} in:\n{text}");
    }
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        assert_eq!(text.matches(&format!("{line}\n")).count(), 1, "{line} stands twice");
    }
}
