//! Runners follow the queue.

use std::time::Duration;

use fireactions_forge::{Answer, Delivery, HostedForge};
use fireactions_model::{Event, JobState, PoolName};
use fireactions_sharing::Deliveries;
use fireactions_testkit::github::{JobRequest, Runner};
use tokio::sync::broadcast::error::TryRecvError;

use crate::github::farm::{Farm, SECRET, SOON, Setup, gate, github, open_gate, pool, until};
use crate::github::{all_well, completed, no_violations};

/// A place for GitHub's deliveries; gives its URL.
pub(crate) async fn door(forge: HostedForge) -> String {
    door_of(forge, None).await
}

/// The same of a host that passes on what it takes, as the server does.
pub(crate) async fn door_of(forge: HostedForge, others: Option<Deliveries>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let deliver = move |headers: axum::http::HeaderMap, body: axum::body::Bytes| {
        let (forge, others) = (forge.clone(), others.clone());
        async move {
            let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            match forge.deliver(Delivery { header: &header, body: &body }).await {
                Answer::Taken => {
                    if let Some(others) = others {
                        let pair = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
                            Some((name.to_string(), value.to_str().ok()?.to_owned()))
                        };
                        let headers = headers.iter().filter_map(pair).collect();
                        others.pass_on(forge.name(), headers, body.into()).await;
                    }
                    axum::http::StatusCode::ACCEPTED
                }
                Answer::Forged => axum::http::StatusCode::UNAUTHORIZED,
                Answer::Malformed(_) => axum::http::StatusCode::BAD_REQUEST,
                Answer::Busy | Answer::Unready(_) => axum::http::StatusCode::SERVICE_UNAVAILABLE,
            }
        }
    };
    let router = axum::Router::new().route("/hook", axum::routing::post(deliver));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_jobs_over_three_pools_none_lost_none_doubled() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(300));
    let pools = vec![
        pool("set", &["debian"], 4, Some("fast")),
        pool("small", &["debian"], 3, None),
        pool("large", &["debian", "gpu"], 2, None),
    ];
    let mut setup = Setup::new(&app, pools);
    setup.surplus = Duration::from_secs(1);
    let farm = Farm::start(&fake, &setup).await;
    let mut events = farm.events.subscribe();
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let jobs: Vec<_> = (0..50)
        .map(|n| {
            let labels: &[&str] = match n % 5 {
                0 | 1 => &["fast"],
                2 | 3 => &["self-hosted", "debian"],
                _ => &["GPU", "Debian"],
            };
            fake.queue_job(JobRequest::new("acme/widgets", labels, "echo done").named(&format!("job {n}")))
        })
        .collect();
    let changes = || -> u64 {
        let calls = fake.calls().by_route;
        let rest = calls.iter().filter(|(route, _)| !route.starts_with("GET ") && !route.contains(" /_"));
        rest.map(|(_, count)| count).sum()
    };
    let before = changes();
    completed(&fake, &jobs).await;
    all_well(&fake, &jobs);
    let rows = until("all rows to be final", || async {
        let rows = farm.rows().await;
        rows.iter().all(|row| row.state.is_final()).then_some(rows)
    })
    .await;
    let well = |row: &&fireactions_model::JobRecord| {
        row.remote.as_ref().is_some_and(|remote| remote.conclusion.as_deref() == Some("success"))
    };
    assert_eq!(rows.iter().filter(well).count(), 50, "each job is some row's");
    for row in rows.iter().filter(well) {
        assert_eq!(row.state, JobState::Succeeded, "{row:#?}");
        let remote = row.remote.as_ref().unwrap();
        assert!(remote.name.as_ref().is_some_and(|name| name.starts_with("job ")), "{remote:?}");
    }
    let mut told: Vec<u64> = std::iter::from_fn(|| match events.try_recv() {
        Ok(event) => Some(event),
        Err(TryRecvError::Empty) => None,
        Err(error) => panic!("{error}"),
    })
    .filter_map(|event| if let Event::PickedUp { micros, .. } = event { Some(micros) } else { None })
    .collect();
    let waited = |row: &fireactions_model::JobRecord| {
        u64::try_from(row.remote.as_ref().unwrap().waited().unwrap().as_micros()).unwrap()
    };
    let mut waited: Vec<u64> = rows.iter().filter(well).map(waited).collect();
    told.sort_unstable();
    waited.sort_unstable();
    assert_eq!(told, waited, "how long each job waited at the forge, not how long its runner did");
    // Jobs of scale sets change nothing by REST but for tokens; other runners are registered, and let go if no job came.
    let (changes, runners) = (changes() - before, fake.all_runners());
    let others = runners.iter().filter(|runner| runner.scale_set.is_none()).count() as u64;
    assert!(changes <= 2 * others + 5, "{changes} changes for {others} runners: {:?}", fake.calls());
    farm.stop().await;
    no_violations(&fake);
    assert_eq!(fake.session_owner(fake.scale_sets()[0].0), None, "the session was closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_job_is_shown_with_what_is_known_and_then_its_runner_is() {
    let (fake, app) = github();
    // No machine may be made yet.
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 0, None)]);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    fake.queue_job(JobRequest::new("acme/widgets", &["windows"], "true"));
    // A pool without room is no pool, so the job is nobody's yet.
    fake.wait_delivered(SOON);
    assert_eq!(farm.github.queued(9), []);
    farm.stop().await;

    setup.pools = vec![pool("p", &["debian"], 1, None)];
    let farm = Farm::start(&fake, &setup).await;
    fake.remove_webhooks();
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let first =
        fake.queue_job(JobRequest::new("acme/widgets", &["debian"], &gate(&farm, "over")).named("first"));
    until("the first to run", || async {
        farm.rows().await.iter().any(|row| row.remote.as_ref().unwrap().is_picked_up()).then_some(())
    })
    .await;
    let second = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true").named("second"));
    let (waiting, place) =
        until("the second to be seen", || async { farm.github.queued(9).into_iter().next() }).await;
    let remote = waiting.remote.clone().unwrap();
    assert_eq!(remote.title().as_deref(), Some("acme/widgets: CI / second"));
    assert_eq!((remote.id, waiting.state), (Some(second.0), JobState::Queued));
    assert!(remote.url.unwrap().contains("/acme/widgets/"));
    let oldest = farm.github.view().oldest;
    assert_eq!(oldest.get(&PoolName::new("p").unwrap()), Some(&waiting.queued_at));
    assert!(place.is_some());
    assert_eq!(farm.github.queued_job(&waiting.id), Some((waiting, place)));
    open_gate(&farm, "over");
    completed(&fake, &[first, second]).await;
    all_well(&fake, &[first, second]);
    assert_eq!(farm.github.queued(9), []);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_jobs_there_are_no_runners_and_none_is_left() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    let pools = vec![pool("set", &["debian"], 2, Some("fast")), pool("p", &["debian"], 2, None)];
    let mut setup = Setup::new(&app, pools);
    setup.audit = Duration::from_millis(300);
    let farm = Farm::start(&fake, &setup).await;
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["fast"], "true"));
    completed(&fake, &[job]).await;
    until("the machine to end", || async { (farm.machines() == 0).then_some(()) }).await;
    assert_eq!(fake.runners(), Vec::<Runner>::new());
    // It has heard everything that there is to hear, and has looked again, by every way.
    let asked = |route: &str| fake.calls().of(route);
    for route in ["GET /_actions/_message/{id}", "GET /repos/{owner}/{repo}/actions/runs"] {
        let before = asked(route);
        until("GitHub to be asked again", || async { (asked(route) >= before + 4).then_some(()) }).await;
    }
    assert_eq!((farm.machines(), fake.all_runners().len()), (0, 1), "nothing is made for no job");
    farm.stop().await;
    all_well(&fake, &[job]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_job_is_a_failed_row_although_its_runner_returns_0() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("set", &["debian"], 2, Some("fast"))])).await;
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["fast"], "exit 3"));
    let ended = completed(&fake, &[job]).await;
    assert_eq!(ended[0].conclusion.as_deref(), Some("failure"));
    let row = until("the row to be final", || async {
        farm.rows().await.into_iter().find(|row| row.state.is_final())
    })
    .await;
    assert_eq!(row.state, JobState::Failed, "{row:#?}");
    assert!(
        row.reason.as_ref().unwrap().contains("GitHub reports that the job ended with failure"),
        "{row:#?}"
    );
    farm.stop().await;
    no_violations(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_may_have_no_machine_is_given_no_job_by_github() {
    let (fake, app) = github();
    // A long poll: the news has to reach GitHub while one is under way.
    fake.set_message_poll(Duration::from_secs(30));
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("set", &["debian"], 2, Some("fast"))])).await;
    let set = until("the set's session", || async {
        fake.scale_sets().first().map(|(id, _)| *id).filter(|id| fake.session_owner(*id).is_some())
    })
    .await;
    let allow = |most: u32| {
        for source in farm.forges().sources() {
            source.set_capacity(&[(PoolName::new("set").unwrap(), most)].into());
        }
    };
    until("GitHub to know of the room", || async { (fake.capacity(set) == 2).then_some(()) }).await;
    allow(0);
    until("GitHub to know", || async { (fake.capacity(set) == 0).then_some(()) }).await;
    let acknowledged = || fake.calls().of("DELETE /_actions/_message/{id}/{message}");
    let before = acknowledged();
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["fast"], "true"));
    // The server is told that there is a job, has done what it does about that, and asks for more.
    until("the server to have heard of it", || async { (acknowledged() > before).then_some(()) }).await;
    assert_eq!((fake.statistics(set).assigned, farm.rows().await.len()), (0, 0), "it waits at GitHub");
    allow(1);
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    farm.stop().await;
    no_violations(&fake);
}
