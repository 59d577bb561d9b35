//! The live view: whatever happens in whatever order, who follows it has what is there. Time is the test's.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::{Fake, HIDDEN, job, machine, serve};
use axum::body::{Body, BodyDataStream, Bytes};
use fireactions_api::*;
use fireactions_model::*;
use futures::{FutureExt, StreamExt};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A client of the live view, without a network in between.
struct Page {
    body: BodyDataStream,
    has: Option<LiveSnapshot>,
    snapshots: u32,
    pings: u32,
    bytes: Vec<Bytes>,
}

impl Page {
    async fn open(api: &Api) -> Self {
        let router = TowerToHyperService::new(api.router(Auth::Socket));
        let ask = axum::http::Request::get("/api/v1/live").body(Body::empty()).unwrap();
        let answer = router.call(ask).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let body = answer.into_body().into_data_stream();
        Self { body, has: None, snapshots: 0, pings: 0, bytes: Vec::new() }
    }

    /// Takes what is there, and no more than `most` messages.
    fn read(&mut self, most: usize) {
        for _ in 0..most {
            // Without the runtime's budget, at whose end nothing would seem to be there.
            let next = tokio::task::unconstrained(self.body.next()).now_or_never();
            let Some(Some(message)) = next else { return };
            let message = message.unwrap();
            self.bytes.push(message.clone());
            let text = String::from_utf8(message.to_vec()).unwrap();
            let mut lines = text.lines();
            let name = lines.next().unwrap().strip_prefix("event: ").unwrap().to_owned();
            let id: u64 = lines.next().unwrap().strip_prefix("id: ").unwrap().parse().unwrap();
            let data = lines.next().unwrap().strip_prefix("data: ").unwrap();
            assert!(text.ends_with("\n\n"), "{text}");
            match name.as_str() {
                "snapshot" => {
                    self.snapshots += 1;
                    self.has = Some(serde_json::from_str(data).unwrap());
                }
                "delta" => {
                    let delta: LiveDelta = serde_json::from_str(data).unwrap();
                    self.has.as_mut().unwrap().apply(delta).unwrap();
                }
                "ping" => {
                    self.pings += 1;
                    let ping: LivePing = serde_json::from_str(data).unwrap();
                    assert_eq!(ping.revision, self.has.as_ref().unwrap().revision);
                }
                other => panic!("{other}"),
            }
            assert_eq!(id, self.has.as_ref().unwrap().revision, "the id is the revision");
        }
    }

    /// What it has, without when and how it came by it.
    fn shows(&self) -> LiveSnapshot {
        LiveSnapshot { revision: 0, at: jiff::Timestamp::UNIX_EPOCH, ..self.has.clone().unwrap() }
    }
}

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    Job {
        n: u8,
        state: JobState,
    },
    JobRemoved {
        n: u8,
    },
    Machine {
        n: u8,
        state: MachineState,
    },
    /// Its event may be lost.
    MachineGone {
        n: u8,
        told: bool,
    },
    Pause(bool),
    Drain(bool),
    /// Time goes by.
    Wait {
        millis: u64,
    },
    Open,
    Close {
        n: usize,
    },
    Read {
        n: usize,
        most: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let state = prop_oneof![Just(JobState::Queued), Just(JobState::Running), Just(JobState::Failed)];
    let machine = prop_oneof![Just(MachineState::Booting), Just(MachineState::Busy)];
    let step = prop_oneof![
        4 => (0..6u8, state).prop_map(|(n, state)| Step::Job { n, state }),
        1 => (0..6u8).prop_map(|n| Step::JobRemoved { n }),
        4 => (0..6u8, machine).prop_map(|(n, state)| Step::Machine { n, state }),
        2 => (0..6u8, any::<bool>()).prop_map(|(n, told)| Step::MachineGone { n, told }),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => any::<bool>().prop_map(Step::Drain),
        6 => (0..400u64).prop_map(|millis| Step::Wait { millis }),
        // Long enough to fall behind everything that is kept.
        1 => Just(Step::Wait { millis: 20_000 }),
        2 => Just(Step::Open),
        1 => (0..4usize).prop_map(|n| Step::Close { n }),
        4 => (0..4usize, 1..5usize).prop_map(|(n, most)| Step::Read { n, most }),
    ];
    vec(step, 1..60)
}

fn numbered_job(n: u8, state: JobState) -> JobRecord {
    let queued_at = jiff::Timestamp::from_second(i64::from(n / 2)).unwrap();
    JobRecord { id: JobId::from_random([n; 8]), queued_at, ..job(state) }
}

fn numbered_machine(n: u8, state: MachineState) -> MachineView {
    MachineView { id: MachineId::from_random([n + 100; 8]), state, ..machine() }
}

fn carry_out(fake: &Fake, step: &Step) {
    match step {
        Step::Job { n, state } => {
            let new = numbered_job(*n, *state);
            let mut jobs = fake.recent.lock().unwrap();
            jobs.retain(|job| job.id != new.id);
            jobs.push(new.clone());
            let _ = fake.events.send(Event::Job { job: Box::new(new.brief()) });
        }
        Step::JobRemoved { n } => {
            let id = JobId::from_random([*n; 8]);
            fake.recent.lock().unwrap().retain(|job| job.id != id);
        }
        Step::Machine { n, state } => {
            let new = numbered_machine(*n, *state);
            let mut machines = fake.more.lock().unwrap();
            machines.retain(|machine| machine.id != new.id);
            machines.push(new.clone());
            let _ = fake.events.send(Event::Machine { machine: Arc::new(new) });
        }
        Step::MachineGone { n, told } => {
            let gone = numbered_machine(*n, MachineState::Stopping);
            fake.more.lock().unwrap().retain(|machine| machine.id != gone.id);
            if *told {
                let _ = fake.events.send(Event::MachineGone { id: gone.id, pool: gone.pool });
            }
        }
        Step::Pause(paused) => fake.pool.lock().unwrap().paused = *paused,
        Step::Drain(drained) => {
            let why = Drained { since: jiff::Timestamp::UNIX_EPOCH, why: "new kernel".to_owned() };
            fake.host.lock().unwrap().drained = drained.then_some(why);
        }
        Step::Wait { .. } | Step::Open | Step::Close { .. } | Step::Read { .. } => {}
    }
}

async fn play(steps: Vec<Step>) {
    let fake = Fake::new();
    let api = Api::new(fake.clone(), Limits::default());
    let mut pages: Vec<Page> = Vec::new();
    for step in &steps {
        carry_out(&fake, step);
        match step {
            Step::Wait { millis } => tokio::time::sleep(Duration::from_millis(*millis)).await,
            Step::Open if pages.len() < 4 => pages.push(Page::open(&api).await),
            Step::Close { n } if *n < pages.len() => drop(pages.remove(*n)),
            Step::Read { n, most } => pages.iter_mut().skip(*n).take(1).for_each(|page| page.read(*most)),
            _ => {}
        }
    }
    // The last change is seen without an event.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for page in &mut pages {
        page.read(usize::MAX);
    }
    // Somebody who comes to a server that was never asked before.
    let fresh = Api::new(fake.clone(), Limits::default());
    let mut new = Page::open(&fresh).await;
    new.read(1);
    for page in &pages {
        assert_eq!(page.shows(), new.shows());
    }
    api.close();
    fresh.close();
}

fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

#[test]
fn whatever_happens_and_whoever_is_slow_changes_lead_to_what_is_there() {
    let cases = if std::env::var_os("FIREACTIONS_LONG").is_some() { 3000 } else { 60 };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps(), |steps| {
            paused_runtime().block_on(play(steps));
            Ok(())
        })
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_gets_everything_anew() {
    let fake = Fake::new();
    let api = Api::new(fake.clone(), Limits::default());
    let (mut slow, mut quick) = (Page::open(&api).await, Page::open(&api).await);
    slow.read(1);
    for turn in 0..200u32 {
        let state = if turn % 2 == 0 { MachineState::Busy } else { MachineState::Booting };
        carry_out(&fake, &Step::Machine { n: 1, state });
        tokio::time::sleep(Duration::from_millis(150)).await;
        quick.read(usize::MAX);
    }
    slow.read(usize::MAX);
    assert_eq!((slow.snapshots, quick.snapshots), (2, 1));
    assert_eq!(slow.shows(), quick.shows());
    assert!(slow.bytes.len() < 100, "it was kept {} messages", slow.bytes.len());
    // What both get is the same memory.
    carry_out(&fake, &Step::Machine { n: 2, state: MachineState::Busy });
    tokio::time::sleep(Duration::from_millis(150)).await;
    slow.read(1);
    quick.read(1);
    let last = |page: &Page| page.bytes.last().unwrap().as_ptr();
    assert_eq!(last(&slow), last(&quick));
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_while_nobody_listens_and_once_for_all_who_do() {
    let fake = Fake::new();
    let looks = || fake.looks.load(Ordering::Relaxed);
    let api = Api::new(fake.clone(), Limits::default());
    let change = |n| carry_out(&fake, &Step::Job { n, state: JobState::Queued });
    for n in 0..20 {
        change(n);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(looks(), 0, "nobody listens");
    let mut pages = Vec::new();
    for _ in 0..50 {
        pages.push(Page::open(&api).await);
    }
    assert_eq!(looks(), 1, "the first has looked for all");
    // 500 a second for ten seconds.
    for n in 0..5000u32 {
        change(u8::try_from(n % 200).unwrap());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!((50..=102).contains(&looks()), "{} looks in ten seconds", looks());
    for page in &mut pages {
        page.read(usize::MAX);
    }
    assert!(pages.iter().all(|page| page.shows() == pages[0].shows() && page.snapshots >= 1));
    drop(pages);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = looks();
    change(1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(looks(), after, "the last has gone");
    let mut again = Page::open(&api).await;
    again.read(1);
    let job = JobId::from_random([1; 8]);
    assert!(again.shows().jobs.iter().any(|one| one.id == job), "who comes later sees what is there then");
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_pings_and_not_by_a_view_that_stands_still() {
    let fake = Fake::new();
    let api = Api::new(fake.clone(), Limits { request: Duration::from_secs(5), ..Limits::default() });
    let mut page = Page::open(&api).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    page.read(usize::MAX);
    assert_eq!((page.pings, page.snapshots), (4, 1));
    *fake.stuck.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_secs(60)).await;
    page.read(usize::MAX);
    assert_eq!(page.pings, 4, "nobody knows whether anything has changed");
    *fake.stuck.lock().unwrap() = false;
    tokio::time::sleep(Duration::from_secs(31)).await;
    page.read(usize::MAX);
    assert_eq!((page.pings, page.snapshots), (6, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_all_the_time_is_told_now_and_then() {
    let fake = Fake::new();
    let api = Api::new(fake.clone(), Limits::default());
    let mut page = Page::open(&api).await;
    page.read(1);
    let limits = |remaining| {
        let limit = RateLimit {
            credential: "token".to_owned(),
            resource: "core".to_owned(),
            limit: 5000,
            remaining,
            reset_at: None,
            blocked_until: None,
        };
        let remote = Some(RemoteView { limits: vec![limit; 40], ..RemoteView::default() });
        ForgeView { name: ForgeName::github(), oldest: std::collections::BTreeMap::new(), remote }
    };
    for used in 1..=100u64 {
        fake.host.lock().unwrap().budget.disk_mib = Some(Share { used, of: Some(1000) });
        *fake.forges.lock().unwrap() = vec![limits(5000 - used)];
        let state = if used == 77 { MachineState::Booting } else { MachineState::Busy };
        carry_out(&fake, &Step::Machine { n: 1, state });
        tokio::time::sleep(Duration::from_millis(150)).await;
        page.read(usize::MAX);
        if used == 77 {
            assert_eq!(page.shows().machines[1].state, state, "what happens is told at once");
        }
    }
    // In fifteen seconds: the first, three changes of the machine, a ping, and the gauges every five seconds.
    assert!(page.bytes.len() <= 8, "{} messages", page.bytes.len());
    tokio::time::sleep(Duration::from_secs(7)).await;
    page.read(usize::MAX);
    let shown = page.shows();
    assert_eq!(shown.host.budget.disk_mib, Some(Share { used: 100, of: Some(1000) }));
    assert_eq!((shown.limits[0].limits.len(), shown.limits[0].limits[0].remaining), (32, 4900));
}

#[tokio::test]
async fn the_client_reads_it_and_no_secret_is_in_it() {
    let server = serve(Limits::default()).await;
    let mut live = server.client.live().await.unwrap();
    let Some(Ok(LiveEvent::Snapshot(mut has))) = live.next().await else { panic!("no snapshot") };
    assert_eq!((has.pools.len(), has.jobs.len(), has.machines.len()), (1, 1, 1));
    assert_eq!(has.version.version, "1.2.3");
    let text = serde_json::to_string(&has).unwrap();
    assert!(!text.contains(HIDDEN), "{text}");
    carry_out(&server.fake, &Step::Machine { n: 1, state: MachineState::Busy });
    let Some(Ok(LiveEvent::Delta(delta))) = live.next().await else { panic!("no change") };
    assert_eq!((delta.machines.len(), delta.jobs.len()), (1, 0));
    has.apply((*delta).clone()).unwrap();
    assert_eq!(has.machines.len(), 2);
    assert_eq!(has.apply(*delta), Err(LiveGap { have: 2, came: 2 }));
    // A server that goes ends it.
    server.api.close();
    assert!(live.next().await.is_none());
}
