//! What must hold at every moment, looked at all the time while servers run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fireactions_machine::{Machinery, Recovered};
use fireactions_model::{
    Event, JobId, JobRecord, JobState, MachineId, MachineState, MachineView, Machines, PoolName,
};
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::lifecycle::host;
use crate::lifecycle::op::{MAX_RUNNERS, POOLS};
use crate::lifecycle::server::{MOST_HELD, VCPUS};

/// Decisions that were made before a pool was scaled may still be on their way for so long.
const STALE: Duration = Duration::from_secs(2);
/// A held machine may stay so much longer than its time.
const LATE: Duration = Duration::from_secs(3);
/// Lines of history that a failure shows.
const TOLD: usize = 150;

/// How much happened in all cases together: a run in which nothing did proves nothing.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) cases: AtomicUsize,
    pub(crate) operations: AtomicUsize,
    pub(crate) servers: AtomicUsize,
    pub(crate) adopted: AtomicUsize,
    pub(crate) undone: AtomicUsize,
    pub(crate) held: AtomicUsize,
    pub(crate) jobs: AtomicUsize,
    pub(crate) lost_attempts: AtomicUsize,
}

pub(crate) static TOTALS: Totals = Totals {
    cases: AtomicUsize::new(0),
    operations: AtomicUsize::new(0),
    servers: AtomicUsize::new(0),
    adopted: AtomicUsize::new(0),
    undone: AtomicUsize::new(0),
    held: AtomicUsize::new(0),
    jobs: AtomicUsize::new(0),
    lost_attempts: AtomicUsize::new(0),
};

/// The observer, the same for all servers of a host.
pub(crate) struct Watch {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wrong: Vec<String>,
    history: VecDeque<String>,
    noted: usize,
    jobs: HashMap<JobId, JobRecord>,
    machines: HashMap<MachineId, (MachineState, Option<u32>)>,
    /// Machines that were ever held: they do not count against their pool's maximum, also when they go.
    held: HashSet<MachineId>,
    /// The maximum of each pool, and since when.
    scale: BTreeMap<PoolName, (u32, Timestamp)>,
    /// Since when the host is drained.
    drained: Option<Timestamp>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        let mut state = State::default();
        for (name, max) in POOLS.iter().zip(MAX_RUNNERS) {
            state.scale.insert(PoolName::new(*name).unwrap(), (max, Timestamp::now()));
        }
        Arc::new(Self { began: Instant::now(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what happens, for whoever has to understand a failure.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        let line = format!("  {:8.3} {text}", self.began.elapsed().as_secs_f64());
        let mut state = self.state();
        state.history.push_back(line);
        state.noted += 1;
        if state.history.len() > TOLD {
            state.history.pop_front();
        }
    }

    /// How often something happened.
    pub(crate) fn noted(&self) -> usize {
        self.state().noted
    }

    pub(crate) fn wrong(&self, text: String) {
        self.note(format_args!("WRONG: {text}"));
        self.state().wrong.push(text);
    }

    /// Fails if anything was wrong so far.
    pub(crate) fn check(&self) {
        let state = self.state();
        assert!(state.wrong.is_empty(), "{}\n{}", state.wrong.join("\n"), told(&state.history));
    }

    /// The last things that happened.
    pub(crate) fn history(&self) -> String {
        told(&self.state().history)
    }

    pub(crate) fn recovered(&self, recovered: &Recovered) {
        TOTALS.servers.fetch_add(1, Ordering::Relaxed);
        TOTALS.adopted.fetch_add(recovered.adopted.len(), Ordering::Relaxed);
        TOTALS.undone.fetch_add(recovered.undone.len(), Ordering::Relaxed);
        self.note(format_args!("{recovered:?}"));
    }

    /// Every machine that was ever heard of.
    pub(crate) fn machines(&self) -> BTreeSet<MachineId> {
        self.state().machines.keys().cloned().collect()
    }

    /// A pool is being given another maximum: until that has happened, either may hold.
    pub(crate) fn scales(&self, pool: &str, max: u32) {
        let mut state = self.state();
        let known = state.scale.get_mut(&PoolName::new(pool).unwrap()).unwrap();
        known.0 = known.0.max(max);
    }

    /// A pool has another maximum from now on.
    pub(crate) fn scaled(&self, pool: &str, max: u32) {
        self.state().scale.insert(PoolName::new(pool).unwrap(), (max, Timestamp::now()));
    }

    /// The host was drained, or is not any more; told after the change.
    pub(crate) fn drained(&self, drained: bool) {
        self.state().drained = drained.then(Timestamp::now);
    }

    /// Hears every event of a server, until that is gone.
    pub(crate) async fn listen(self: Arc<Self>, mut events: broadcast::Receiver<Event>) {
        loop {
            match events.recv().await {
                Ok(Event::Job { job }) => self.job(&job),
                Ok(Event::Machine { machine }) => self.machine(&machine),
                Ok(Event::MachineGone { id, .. }) => self.note(format_args!("{id} is gone")),
                Ok(
                    Event::Phase { .. }
                    | Event::Image { .. }
                    | Event::Started { .. }
                    | Event::PickedUp { .. },
                ) => {}
                Err(RecvError::Lagged(missed)) => self.note(format_args!("{missed} events were missed")),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn job(&self, job: &JobRecord) {
        let before = self.state().jobs.insert(job.id.clone(), job.clone());
        let same =
            before.as_ref().is_some_and(|before| (before.state, before.attempt) == (job.state, job.attempt));
        if !same {
            let machine = job.machine.as_ref().map_or("-", MachineId::as_str);
            let reason = job.reason.as_deref().unwrap_or_default();
            self.note(format_args!("{} {} attempt {} on {machine} {reason}", job.id, job.state, job.attempt));
        }
        let Some(before) = before else { return };
        if before.state.is_final() && !same {
            self.wrong(format!("job {} was {} and is {} again", job.id, before.state, job.state));
        }
        if job.attempt < before.attempt {
            self.wrong(format!("job {}: attempt {} after {}", job.id, job.attempt, before.attempt));
        }
        if job.state == JobState::Assigned
            && job.attempt == before.attempt + 1
            && let Some(earlier) = before.machine
            && let Some((_, Some(pid))) = self.state().machines.get(&earlier).copied()
            && host::runs(&earlier, pid)
        {
            self.wrong(format!("job {} has a new machine while its last, {earlier}, still runs", job.id));
        }
    }

    fn machine(&self, view: &MachineView) {
        let before = self.state().machines.insert(view.id.clone(), (view.state, view.pid));
        if before.is_none_or(|(state, _)| state != view.state) {
            let why = view.failure.as_ref().map_or("", |failure| failure.message.as_str());
            self.note(format_args!("{} {} {} {why}", view.id, view.pool, view.state));
        }
    }

    /// Looks at all machines of a server again and again, until that is gone.
    pub(crate) async fn look(self: Arc<Self>, machines: Machinery) {
        loop {
            if let Err(wrong) = self.judge(&machines.views()) {
                self.wrong(wrong);
            }
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    fn judge(&self, views: &[Arc<MachineView>]) -> Result<(), String> {
        let mut state = self.state();
        let held = views.iter().filter(|view| view.state == MachineState::Held);
        for view in held {
            if state.held.insert(view.id.clone()) {
                TOTALS.held.fetch_add(1, Ordering::Relaxed);
            }
        }
        if views.len() > VCPUS as usize {
            return Err(format!("{} machines on a host for {VCPUS}", views.len()));
        }
        if let Some(view) = state.drained.and_then(|since| views.iter().find(|view| is_new(view, since))) {
            return Err(format!("machine {} was begun on a drained host", view.id));
        }
        let mut jobs = BTreeSet::new();
        for view in views.iter().filter(|view| view.state.is_busy()) {
            if let Some(job) = &view.job
                && !jobs.insert(job)
            {
                return Err(format!("two machines have job {job}"));
            }
        }
        for (number, name) in POOLS.iter().enumerate() {
            let mine = || views.iter().filter(|view| view.pool.as_str() == *name);
            let held = mine().filter(|view| view.state == MachineState::Held).count();
            if held > MOST_HELD[number] {
                return Err(format!("{held} machines of pool {name} are held"));
            }
            let overdue = mine().filter(|view| view.state == MachineState::Held).find(|view| {
                let over = view.held_until.map(|until| Timestamp::now().duration_since(until));
                over.is_none_or(|over| Duration::try_from(over).is_ok_and(|late| late > LATE))
            });
            if let Some(view) = overdue {
                return Err(format!("machine {} was to be held until {:?} only", view.id, view.held_until));
            }
            let (max, since) = state.scale[&PoolName::new(*name).unwrap()];
            let counted: Vec<_> = mine().filter(|view| !state.held.contains(&view.id)).collect();
            // More than that may be left of when it was more; but none is added.
            let added = counted.iter().any(|view| is_new(view, since));
            if counted.len() > max as usize && added {
                return Err(format!("{} machines of pool {name}, which may have {max}", counted.len()));
            }
        }
        Ok(())
    }
}

/// Whether a machine was begun after a change and cannot have been decided on before.
fn is_new(view: &MachineView, change: Timestamp) -> bool {
    Duration::try_from(view.created_at.duration_since(change)).is_ok_and(|after| after > STALE)
}

fn told(history: &VecDeque<String>) -> String {
    let lines: Vec<&str> = history.iter().map(String::as_str).collect();
    lines.join("\n")
}
