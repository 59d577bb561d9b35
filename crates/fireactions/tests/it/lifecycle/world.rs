//! A host with one server after the other: operations are done to it, and in the end it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fireactions_image::Images;
use fireactions_model::{JobId, JobRecord, MachineId, Machines, Outcome, PoolName, ShutdownMode};
use fireactions_testkit::cgroups::run;
use nix::sys::signal::Signal;

use crate::lifecycle::host;
use crate::lifecycle::ledger;
use crate::lifecycle::op::{Down, MAX_RUNNERS, Op, POOLS};
use crate::lifecycle::play::Play;
use crate::lifecycle::server::{Places, Server};
use crate::lifecycle::verdict::{Attempt, Fault, Story};
use crate::lifecycle::watch::{TOTALS, Watch};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// How the names of all hosts' cgroups begin.
pub(crate) fn cgroups() -> String {
    format!("fal-{}-{}-", run(), std::process::id())
}

/// A job that was submitted.
struct Job {
    id: JobId,
    play: Play,
    cancelled: bool,
}

/// The system under test.
pub(crate) struct World {
    places: Places,
    watch: Arc<Watch>,
    server: Option<Server>,
    jobs: Vec<Job>,
    faults: BTreeMap<MachineId, BTreeSet<Fault>>,
    _dir: tempfile::TempDir,
}

impl World {
    /// A host in a network namespace that the calling thread makes for itself.
    pub(crate) fn new(images: &Images, shared: &Path) -> Self {
        host::enter_own_namespace();
        // Next to what is shared, so that disks can share blocks.
        let dir = tempfile::Builder::new().prefix("l").tempdir_in(shared.parent().unwrap()).unwrap();
        let places = Places {
            dir: dir.path().to_path_buf(),
            cgroup: format!("{}{}", cgroups(), NUMBER.fetch_add(1, Ordering::SeqCst)),
            images: images.clone(),
            shared: shared.to_path_buf(),
        };
        let watch = Watch::new();
        let server = Some(Server::start(&places, &watch));
        Self { places, watch, server, jobs: vec![], faults: BTreeMap::new(), _dir: dir }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("operations that need a server come only while one runs")
    }

    /// Fails if anything was wrong so far.
    pub(crate) fn check(&self) {
        self.watch.check();
    }

    pub(crate) fn history(&self) -> String {
        self.watch.history()
    }

    /// Does one thing.
    pub(crate) fn happen(&mut self, op: Op) {
        self.watch.note(format_args!("== {op:?}"));
        match op {
            Op::Submit { pool, play } => self.submit(pool, play),
            Op::Cancel { job } => self.cancel(job),
            Op::Down(how) => self.down(how),
            Op::Up => self.server = Some(Server::start(&self.places, &self.watch)),
            Op::Kill { machine } => {
                if let Some((_, pid)) = self.harm(machine, Fault::Killed) {
                    host::signal(pid, Signal::SIGKILL);
                }
            }
            Op::Stop { machine } => {
                if let Some((_, pid)) = self.harm(machine, Fault::Stopped) {
                    host::signal(pid, Signal::SIGSTOP);
                }
            }
            Op::Continue => {
                for (_, pid) in host::vmms() {
                    host::signal(pid, Signal::SIGCONT);
                }
            }
            Op::Pause { pool } => {
                self.ask_pool(pool, |pools, name| async move { pools.pause(&name).await })
                    .expect("it is paused");
            }
            Op::Resume { pool } => {
                self.ask_pool(pool, |pools, name| async move { pools.resume(&name).await })
                    .expect("it is resumed");
            }
            Op::Scale { pool, min, max } => self.scale(pool, Some((min, max))),
            Op::RemoveTap { machine } => {
                if let Some((id, _)) = self.harm(machine, Fault::TapRemoved) {
                    host::remove_tap(&id);
                }
            }
            Op::Drain => self.drain(Some("a test")),
            Op::Undrain => self.drain(None),
            Op::FlushRules => host::flush_rules(),
            Op::UntilBusy => {
                let deadline = Instant::now() + Duration::from_secs(2);
                let busy = || self.server().machines.views().iter().any(|view| view.state.is_busy());
                while !busy() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(3));
                }
            }
            Op::Wait { ms } => std::thread::sleep(Duration::from_millis(ms.into())),
        }
    }

    fn submit(&mut self, pool: usize, play: Play) {
        let spec = play.spec(self.jobs.len(), POOLS[pool]);
        let server = self.server();
        let job = server.ask(server.forge.submit(spec, vec![])).expect("the job is taken");
        self.watch.note(format_args!("{} is job {}", job.id, self.jobs.len()));
        self.jobs.push(Job { id: job.id, play, cancelled: false });
    }

    fn cancel(&mut self, job: usize) {
        let number = job % self.jobs.len();
        let server = self.server();
        let record = server.ask(server.forge.cancel(&self.jobs[number].id)).expect("the job is known");
        self.watch.note(format_args!("{}: cancel requested is {}", record.id, record.cancel_requested));
        // One that was final already stays as it is.
        self.jobs[number].cancelled |= record.cancel_requested;
    }

    fn down(&mut self, how: Down) {
        let server = self.server.take().expect("a server runs");
        let before = server.ask(server.store.machines()).unwrap().into_iter().map(|row| row.id);
        let mut killed: BTreeSet<MachineId> = before.collect();
        let known = self.watch.machines();
        server.stop(how);
        if how == Down::Kill {
            // One more may have been begun in the same moment.
            killed.extend(self.watch.machines().difference(&known).cloned());
            for machine in killed {
                self.faults.entry(machine).or_default().insert(Fault::ServerKilled);
            }
        }
    }

    /// Picks a machine whose VMM runs and writes down what is about to be done to it.
    fn harm(&mut self, machine: usize, fault: Fault) -> Option<(MachineId, i32)> {
        let mut running = host::vmms();
        if running.is_empty() {
            return None;
        }
        let (id, pid) = running.swap_remove(machine % running.len());
        self.watch.note(format_args!("{id} is {fault:?}"));
        self.faults.entry(id.clone()).or_default().insert(fault);
        Some((id, pid))
    }

    fn ask_pool<T, F: Future<Output = T>>(
        &self,
        pool: usize,
        ask: impl FnOnce(fireactions_pool::PoolHandle, PoolName) -> F,
    ) -> T {
        let server = self.server();
        server.ask(ask(server.pools.clone(), PoolName::new(POOLS[pool]).unwrap()))
    }

    fn drain(&self, why: Option<&str>) {
        let server = self.server();
        // Machines may be begun before the answer that they may.
        if why.is_none() {
            self.watch.drained(false);
        }
        let view = server.ask(server.pools.drain(why)).expect("it is drained");
        assert_eq!(view.drained.is_some(), why.is_some());
        if why.is_some() {
            self.watch.drained(true);
        }
    }

    fn scale(&self, pool: usize, scale: Option<(u32, u32)>) {
        let max = scale.map_or(MAX_RUNNERS[pool], |(_, max)| max);
        // Machines may be begun before the answer that they may.
        self.watch.scales(POOLS[pool], max);
        self.ask_pool(pool, |pools, name| async move { pools.scale(&name, scale).await })
            .expect("it is scaled");
        self.watch.scaled(POOLS[pool], max);
    }

    /// Nothing is in the jobs' way any more. Every job must end; then no machine is wanted, and each must go by
    /// itself; then the server is stopped, and nothing may be left.
    pub(crate) fn settle(mut self) {
        if self.server.is_none() {
            self.happen(Op::Up);
        }
        self.watch.note("== settle");
        self.drain(None);
        for pool in 0..POOLS.len() {
            self.happen(Op::Resume { pool });
            self.scale(pool, None);
        }
        self.until("every job's end", Duration::from_secs(60), |world| {
            let server = world.server();
            world.jobs.iter().all(|job| {
                let record = server.ask(server.forge.get(&job.id)).unwrap();
                record.unwrap_or_else(|| panic!("job {} is gone", job.id)).state.is_final()
            })
        });
        for pool in 0..POOLS.len() {
            self.happen(Op::Pause { pool });
        }
        self.until("every machine's end", Duration::from_secs(60), |world| {
            let server = world.server();
            server.machines.views().is_empty() && server.ask(server.store.machines()).unwrap().is_empty()
        });
        let server = self.server();
        self.until("the rules to be whole", Duration::from_secs(10), |world| {
            !world.server().ask(world.server().network.repair()).expect("the rules can be looked at")
        });
        let records = self.jobs.iter().map(|job| server.ask(server.forge.get(&job.id)).unwrap().unwrap());
        let records: Vec<_> = records.collect();
        let logs: Vec<_> =
            self.jobs.iter().map(|job| server.ask(ledger::outputs(&server.store, &job.id))).collect();
        assert_eq!(server.end(ShutdownMode::Wait), 0, "machines are left\n{}", self.history());
        self.server.take().unwrap().stop(Down::Detach);
        self.judge(records, logs);
        self.nothing_is_left();
        self.check();
    }

    fn judge(&self, records: Vec<JobRecord>, logs: Vec<Result<Vec<Vec<u8>>, String>>) {
        let ledger = ledger::read(&self.places.dir.join("state/state.db"));
        let mut wrong = ledger.contradictions();
        for (number, ((job, record), log)) in self.jobs.iter().zip(records).zip(logs).enumerate() {
            let outputs = log.unwrap_or_else(|why| {
                wrong.push(format!("job {number} ({}): {why}", job.id));
                vec![]
            });
            let attempts = ledger.attempts(&job.id, &outputs, &self.faults);
            let lost = |attempt: &&Attempt| matches!(attempt.outcome, Some(Outcome::Lost { .. }));
            TOTALS.jobs.fetch_add(1, Ordering::Relaxed);
            TOTALS.lost_attempts.fetch_add(attempts.iter().filter(lost).count(), Ordering::Relaxed);
            let story = Story { number, play: job.play.clone(), cancelled: job.cancelled, record, attempts };
            if let Err(why) = story.judge() {
                wrong.push(format!("{why}\n{story}"));
            }
        }
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), self.history());
    }

    fn nothing_is_left(&self) {
        // A helper program that was just ended may take a moment to be gone.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = host::remains(&self.places.dir, &self.places.cgroup);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind: {left:#?}\n{}", self.history());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits; fails when nothing at all has happened for so long. A slow host is no failure, a host that stands still is.
    fn until(&self, what: &str, still: Duration, mut done: impl FnMut(&Self) -> bool) {
        let (mut noted, mut last) = (0, Instant::now());
        while !done(self) {
            let now = self.watch.noted();
            if now != noted {
                (noted, last) = (now, Instant::now());
            }
            if last.elapsed() > still {
                let views = self.server().machines.views();
                panic!("waited for {what}: nothing for {still:?}\nmachines: {views:#?}\n{}", self.history());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(Down::Crash);
        }
        host::clear(&self.places.cgroup);
    }
}
