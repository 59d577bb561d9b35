//! The loop, with a forge and machines in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::{
    CreateError, Drained, ForgeError, ImageRef, MachineState, Machines, PoolName, PoolOverride, PoolSpec,
    PullPolicy, Shape,
};
use fireactions_pool::{
    Budget, Controller, Ends, NoOverrides, Obstacle, Overrides, PoolError, PoolHandle, Timing,
};
use fireactions_testkit::{forge::FakeForge, machines::FakeMachines};
use futures::FutureExt;
use tokio::task::JoinHandle;

use MachineState::{Booting, Busy, Creating, Ready, Stopping};

fn name() -> PoolName {
    PoolName::new("a").unwrap()
}

fn shape() -> Shape {
    Shape { image: ImageRef::new("debian").unwrap(), vcpus: 1, memory_mib: 512, disk_mib: 100 }
}

fn spec(min_runners: u32, max_runners: u32) -> PoolSpec {
    PoolSpec { min_runners, max_runners, pull: PullPolicy::Always, ..PoolSpec::new(name(), shape()) }
}

/// Remembers what was saved; refuses when told to.
#[derive(Default)]
struct Saved {
    last: Mutex<BTreeMap<PoolName, PoolOverride>>,
    refuse: Mutex<bool>,
    /// Held by who wants it to take its time.
    busy: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Overrides for Saved {
    async fn save(&self, pool: &PoolName, changed: &PoolOverride) -> Result<(), String> {
        drop(self.busy.lock().await);
        if *self.refuse.lock().unwrap() {
            return Err("disk full".to_owned());
        }
        self.last.lock().unwrap().insert(pool.clone(), *changed);
        Ok(())
    }

    async fn save_drain(&self, why: Option<&str>) -> Result<Option<Drained>, String> {
        drop(self.busy.lock().await);
        if *self.refuse.lock().unwrap() {
            return Err("disk full".to_owned());
        }
        NoOverrides.save_drain(why).await
    }
}

struct Rig {
    forge: Arc<FakeForge>,
    machines: Arc<FakeMachines>,
    saved: Arc<Saved>,
    pools: PoolHandle,
    ends: Ends,
    task: JoinHandle<()>,
}

impl Rig {
    fn start(spec: PoolSpec) -> Self {
        Self::start_with(spec, &BTreeMap::new())
    }

    fn start_with(spec: PoolSpec, before: &BTreeMap<PoolName, PoolOverride>) -> Self {
        let forge = Arc::new(FakeForge::default());
        let machines = Arc::new(FakeMachines::default());
        let saved = Arc::new(Saved::default());
        let budget = Budget { vcpus: 100, memory_mib: 100_000, machine_overhead_mib: 64 };
        let timing = Timing {
            resync: Duration::from_millis(200),
            demand_patience: Duration::from_millis(50),
            demand_deadline: Duration::from_millis(100),
            demand_keep: Duration::from_millis(600),
            surplus_after: Duration::from_millis(150),
            ..Timing::default()
        };
        let controller = Controller::new(vec![forge.clone()], machines.clone(), vec![spec], budget)
            .with_overrides(before, saved.clone())
            .with_timing(timing);
        let (pools, ends) = (controller.handle(), Ends::default());
        let task = tokio::spawn(controller.run(ends.clone()));
        Self { forge, machines, saved, pools, ends, task }
    }

    /// Waits until so many machines are in a state.
    async fn until(&self, state: MachineState, count: usize) {
        let what = format!("{count} machines {state}, have {:?}", self.pools.list()[0].machines);
        eventually(&what, || self.machines.count(&name(), state) == count).await;
    }

    fn boot(&self) {
        self.machines.shift(&name(), Creating, Booting, usize::MAX);
        self.machines.shift(&name(), Booting, Ready, usize::MAX);
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn keeps_warm_machines_and_serves_jobs() {
    let rig = Rig::start(spec(2, 5));
    rig.until(Creating, 2).await;
    rig.boot();
    rig.forge.set_demand(&name(), &shape(), 2);
    rig.until(Creating, 2).await;
    rig.forge.set_demand(&name(), &shape(), 0);
    rig.machines.shift(&name(), Ready, Busy, 2);
    rig.boot();
    eventually("the queue is empty", || rig.pools.list()[0].queued == 0).await;
    rig.until(Ready, 2).await;
    assert_eq!(rig.machines.created(), 4);
    let view = rig.pools.show(&name()).unwrap();
    assert_eq!((view.machines[&Busy], view.machines[&Ready], view.queued), (2, 2, 0));
    // What they take of the host, with what each costs beside its memory.
    let (budget, shape) = (rig.pools.host().budget, shape());
    assert_eq!((budget.vcpus.used, budget.vcpus.of), (4 * u64::from(shape.vcpus), Some(100)));
    assert_eq!(
        (budget.memory_mib.used, budget.memory_mib.of),
        (4 * u64::from(shape.memory_mib + 64), Some(100_000))
    );
}

#[tokio::test]
async fn surplus_machines_go_by_time_alone() {
    let rig = Rig::start(spec(0, 5));
    rig.forge.set_demand(&name(), &shape(), 3);
    rig.until(Creating, 3).await;
    rig.boot();
    rig.forge.set_demand(&name(), &shape(), 0);
    rig.until(Stopping, 3).await;
}

#[tokio::test]
async fn failures_slow_a_pool_down_and_success_frees_it() {
    let rig = Rig::start(spec(3, 5));
    rig.until(Creating, 3).await;
    rig.machines.fail(&name(), Creating, "image debian: no such image");
    eventually("backoff", || rig.pools.list()[0].backoff.is_some()).await;
    let backoff = rig.pools.list()[0].backoff.clone().unwrap();
    assert_eq!((backoff.failures, backoff.reason.as_str()), (1, "image debian: no such image"));
    rig.machines.remove_stopping();
    assert_eq!(rig.machines.created(), 3);
    rig.until(Creating, 1).await;
    assert_eq!(rig.machines.created(), 4, "one machine shows whether it is over");
    rig.boot();
    rig.until(Creating, 2).await;
    assert_eq!(rig.pools.list()[0].backoff, None);
}

#[tokio::test]
async fn refused_creations_back_off_too() {
    let rig = Rig::start(spec(0, 5));
    rig.machines.refuse_with(Some(CreateError::Exhausted("no free address".to_owned())));
    rig.forge.set_demand(&name(), &shape(), 1);
    eventually("backoff", || rig.pools.list()[0].backoff.is_some()).await;
    assert!(rig.pools.list()[0].backoff.as_ref().unwrap().reason.contains("no free address"));
    rig.machines.refuse_with(None);
    rig.pools.resume(&name()).await.unwrap();
    rig.until(Creating, 1).await;
}

#[tokio::test]
async fn an_unreachable_forge_is_asked_less_often_and_its_demand_forgotten() {
    let rig = Rig::start(spec(0, 5));
    rig.forge.set_demand(&name(), &shape(), 2);
    rig.until(Creating, 2).await;
    rig.boot();
    rig.forge
        .fail_with(Some(ForgeError::Unavailable { message: "connection refused".into(), retry_after: None }));
    eventually("the error is shown", || {
        rig.pools.list()[0].waiting_for.as_deref().is_some_and(|text| text.contains("connection refused"))
    })
    .await;
    let asked = rig.forge.asked();
    assert_eq!(rig.pools.list()[0].queued, 2, "the last known demand counts for a while");
    rig.until(Stopping, 2).await;
    assert_eq!(rig.pools.list()[0].queued, 0);
    assert!(rig.forge.asked() - asked <= 4, "{} questions", rig.forge.asked() - asked);
    rig.machines.remove_stopping();
    rig.forge.fail_with(None);
    rig.until(Creating, 2).await;
    assert_eq!(rig.pools.list()[0].waiting_for, None);
}

#[tokio::test]
async fn a_forge_without_an_answer_does_not_stop_the_pool() {
    let rig = Rig::start(spec(1, 5));
    rig.forge.hang(true);
    rig.until(Creating, 1).await;
    rig.machines.fail(&name(), Creating, "gone");
    rig.machines.remove_stopping();
    rig.until(Creating, 1).await;
    eventually("the silence is shown", || {
        rig.pools.list()[0].waiting_for.as_deref().is_some_and(|text| text.contains("no answer in"))
    })
    .await;
}

#[tokio::test]
async fn operators_pause_resume_and_scale() {
    let rig = Rig::start(spec(2, 5));
    rig.until(Creating, 2).await;
    let view = rig.pools.pause(&name()).await.unwrap();
    assert!(view.paused);
    rig.until(Stopping, 2).await;
    rig.machines.remove_stopping();
    rig.pools.resume(&name()).await.unwrap();
    rig.until(Creating, 2).await;
    let view = rig.pools.scale(&name(), Some((4, 4))).await.unwrap();
    assert_eq!((view.min_runners, view.max_runners), (4, 4));
    rig.until(Creating, 4).await;
    rig.pools.scale(&name(), None).await.unwrap();
    rig.boot();
    rig.until(Stopping, 2).await;
    let last = rig.saved.last.lock().unwrap()[&name()];
    assert_eq!(last, PoolOverride { paused: false, scale: None });
}

#[tokio::test]
async fn a_drained_host_makes_nothing_and_says_so() {
    let rig = Rig::start(spec(2, 5));
    rig.until(Creating, 2).await;
    rig.boot();
    rig.machines.shift(&name(), Ready, Busy, 1);
    rig.machines.shift(&name(), Ready, MachineState::Held, 1);
    // In place of the two.
    rig.until(Creating, 2).await;
    let host = rig.pools.drain(Some("new disks")).await.unwrap();
    assert_eq!((host.drained.unwrap().why.as_str(), host.machines[&Busy]), ("new disks", 1));
    rig.until(Stopping, 2).await;
    rig.machines.remove_stopping();
    rig.forge.set_demand(&name(), &shape(), 1);
    eventually("the job is seen", || rig.pools.list()[0].queued == 1).await;
    let outlook = rig.pools.outlook(&name(), &shape()).unwrap();
    assert_eq!(outlook.drained, rig.pools.host().drained);
    assert_eq!((rig.pools.host().busy(), rig.pools.host().machines[&MachineState::Held]), (1, 1));
    assert_eq!(rig.pools.list()[0].obstacle().as_deref(), Some("host drained"));
    let created = rig.machines.created();

    *rig.saved.refuse.lock().unwrap() = true;
    let unsaved = rig.pools.drain(None).await.unwrap_err().to_string();
    assert_eq!(unsaved, "the change to the host could not be saved and was not made: disk full");
    assert_eq!(rig.machines.created(), created);
    *rig.saved.refuse.lock().unwrap() = false;
    assert_eq!(rig.pools.drain(None).await.unwrap().drained, None);
    rig.until(Creating, 3).await;
}

#[tokio::test]
async fn jobs_have_their_machines_or_what_stands_in_the_way_told() {
    let rig = Rig::start(spec(0, 2));
    rig.forge.set_demand(&name(), &shape(), 3);
    rig.until(Creating, 2).await;
    let line = || rig.pools.outlook(&name(), &shape()).unwrap().line;
    eventually("both are seen", || line().coming.len() == 2).await;
    assert_eq!(line().obstacle, Some(Obstacle::Maximum));
    rig.machines.shift(&name(), Creating, Booting, 1);
    eventually("the first is the first", || {
        let views = rig.machines.views();
        let booting = views.iter().find(|view| view.state == Booting).unwrap();
        line().coming.first() == Some(&booting.id)
    })
    .await;
    assert_eq!(rig.pools.outlook(&PoolName::new("nobody").unwrap(), &shape()), None);
}

#[tokio::test]
async fn wrong_and_unsaved_changes_are_not_made() {
    let rig = Rig::start(spec(1, 5));
    let nobody = PoolName::new("nobody").unwrap();
    assert_eq!(rig.pools.pause(&nobody).await, Err(PoolError::Unknown(nobody)));
    let wrong = rig.pools.scale(&name(), Some((3, 2))).await.unwrap_err().to_string();
    assert_eq!(wrong, "cannot scale pool 'a' to 3..2: the minimum is above the maximum");
    *rig.saved.refuse.lock().unwrap() = true;
    let unsaved = rig.pools.pause(&name()).await.unwrap_err().to_string();
    assert_eq!(unsaved, "the change to pool 'a' could not be saved and was not made: disk full");
    assert!(!rig.pools.show(&name()).unwrap().paused);
}

#[tokio::test]
async fn earlier_changes_hold_from_the_first_moment() {
    let before = BTreeMap::from([(name(), PoolOverride { paused: true, scale: Some((3, 3)) })]);
    let rig = Rig::start_with(spec(1, 5), &before);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.machines.created(), 0);
    rig.pools.resume(&name()).await.unwrap();
    rig.until(Creating, 3).await;
}

#[tokio::test]
async fn shutdown_lets_idle_machines_go_and_leaves_busy_ones() {
    let rig = Rig::start(spec(3, 5));
    rig.until(Creating, 3).await;
    rig.boot();
    rig.machines.shift(&name(), Ready, Busy, 1);
    rig.ends.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), rig.task).await.unwrap().unwrap();
    assert_eq!(rig.machines.count(&name(), Stopping) as u64, rig.machines.created() - 1);
    assert_eq!(rig.machines.count(&name(), Busy), 1);
}

#[tokio::test]
async fn a_hundred_jobs_go_through_three_machines() {
    let rig = Rig::start(spec(0, 3));
    let mut left = 100;
    while left > 0 {
        rig.forge.set_demand(&name(), &shape(), left);
        eventually("machines", || rig.machines.count(&name(), Creating) > 0).await;
        rig.boot();
        let taken = rig.machines.shift(&name(), Ready, Busy, left as usize);
        left -= u32::try_from(taken).unwrap();
        rig.forge.set_demand(&name(), &shape(), left);
        rig.machines.shift(&name(), Busy, Stopping, usize::MAX);
        rig.machines.remove_stopping();
    }
    assert!(rig.machines.created() <= 103, "{} machines for 100 jobs", rig.machines.created());
}

#[tokio::test]
async fn a_job_with_a_bad_image_holds_up_its_like_and_not_the_pool() {
    let rig = Rig::start(spec(1, 5));
    rig.until(Creating, 1).await;
    rig.boot();
    let missing = Shape { image: ImageRef::new("missing").unwrap(), ..shape() };
    rig.forge.set_demand(&name(), &missing, 3);
    rig.until(Creating, 3).await;
    rig.machines.fail(&name(), Creating, "image missing: not found");
    eventually("the reason is told", || {
        rig.pools.list()[0].waiting_for.as_ref().is_some_and(|why| why.contains("image missing: not found"))
    })
    .await;
    rig.machines.remove_stopping();
    assert_eq!(rig.pools.list()[0].backoff, None, "the pool itself is well");
    // A job of the pool's own shape is served at once, and its warm machine replaced.
    rig.machines.shift(&name(), Ready, Busy, 1);
    eventually("a new warm machine", || rig.machines.created() >= 5).await;
    // After the wait, one machine tries the image again.
    rig.boot();
    eventually("one more try", || rig.machines.created() >= 5 && rig.machines.count(&name(), Creating) <= 1)
        .await;
}

#[tokio::test]
async fn machines_that_do_not_answer_keep_no_pool_from_its_jobs() {
    let rig = Rig::start(spec(0, 60));
    rig.forge.set_demand(&name(), &shape(), 20);
    rig.until(Creating, 20).await;
    rig.boot();
    rig.machines.deafen(true);
    // They are surplus, and are asked to go; each of them would be waited for for 15 seconds.
    rig.forge.set_demand(&name(), &shape(), 0);
    eventually("all are asked", || rig.machines.unanswered() == 20).await;
    let other = Shape { vcpus: 2, ..shape() };
    rig.forge.set_demand(&name(), &other, 3);
    rig.until(Creating, 3).await;
    rig.machines.deafen(false);
}

/// Two pools of two forges.
fn two_forges() -> (Arc<FakeForge>, Arc<FakeForge>, Arc<FakeMachines>, Ends) {
    let second = PoolName::new("b").unwrap();
    let (hung, well) = (Arc::new(FakeForge::only(name())), Arc::new(FakeForge::only(second.clone())));
    let machines = Arc::new(FakeMachines::default());
    let budget = Budget { vcpus: 100, memory_mib: 100_000, machine_overhead_mib: 64 };
    let other = PoolSpec { max_runners: 5, ..PoolSpec::new(second, shape()) };
    let controller =
        Controller::new(vec![hung.clone(), well.clone()], machines.clone(), vec![spec(0, 5), other], budget);
    let ends = Ends::default();
    tokio::spawn(controller.run(ends.clone()));
    (hung, well, machines, ends)
}

#[tokio::test(start_paused = true)]
async fn a_forge_that_hangs_keeps_no_other_from_its_machines() {
    let (hung, well, machines, _ends) = two_forges();
    let second = PoolName::new("b").unwrap();
    hung.hang(true);
    // The times of a server: a question to the one that hangs takes ten seconds.
    for jobs in 1..=5 {
        let asked = tokio::time::Instant::now();
        well.set_demand(&second, &shape(), jobs);
        while machines.count(&second, Creating) < jobs as usize {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "job {jobs} waited {took:?} by the clock of the test");
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test]
async fn a_refusal_because_the_server_closes_takes_no_warm_machine_down() {
    let rig = Rig::start(spec(3, 9));
    rig.until(Creating, 3).await;
    rig.boot();
    rig.machines.refuse_with(Some(CreateError::Closed));
    rig.forge.set_demand(&name(), &shape(), 5);
    eventually("the jobs are seen", || rig.pools.list()[0].queued == 5).await;
    // Each look begins what is lacking anew: more than one has come after the first refusal.
    let first = rig.machines.refused();
    eventually("more looks", || rig.machines.refused() >= first + 6).await;
    assert_eq!((rig.machines.count(&name(), Ready), rig.pools.list()[0].backoff.clone()), (3, None));
}

#[tokio::test]
async fn frozen_it_ends_and_leaves_everything_as_it_is() {
    let rig = Rig::start(spec(3, 9));
    rig.until(Creating, 3).await;
    rig.boot();
    rig.ends.freeze.cancel();
    tokio::time::timeout(Duration::from_secs(10), rig.task).await.unwrap().unwrap();
    assert_eq!(rig.machines.count(&name(), Ready), 3);
}

#[tokio::test(start_paused = true)]
async fn without_news_the_forge_is_asked_once_in_a_while() {
    let (first, _second, _machines, _ends) = two_forges();
    tokio::time::sleep(Duration::from_secs(600)).await;
    // Once every 30 seconds; a look must not be what begins the next.
    assert!((15..=30).contains(&first.asked()), "{} questions in ten minutes", first.asked());
}

#[tokio::test]
async fn a_change_whose_client_goes_away_is_in_force_once_it_is_durable() {
    let rig = Rig::start(spec(0, 5));
    let busy = rig.saved.busy.lock().await;
    assert!(rig.pools.pause(&name()).now_or_never().is_none());
    assert!(rig.pools.drain(Some("maintenance")).now_or_never().is_none());
    drop(busy);
    eventually("the pause", || rig.pools.show(&name()).unwrap().paused).await;
    eventually("the drain", || rig.pools.host().drained.is_some()).await;
    assert!(rig.saved.last.lock().unwrap()[&name()].paused);
    let busy = rig.saved.busy.lock().await;
    assert!(rig.pools.resume(&name()).now_or_never().is_none());
    assert!(rig.pools.drain(None).now_or_never().is_none());
    drop(busy);
    eventually("the end of the pause", || !rig.pools.show(&name()).unwrap().paused).await;
    eventually("the end of the drain", || rig.pools.host().drained.is_none()).await;
}
