//! A machine's row: every change is durable first, then seen by others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fireactions_guest_proto::host::Link;
use fireactions_image::ImageConfig;
use fireactions_model::{
    Digest, Event, ExponentialBackoff, Failure, FailureKind, JobId, MachineId, MachineState, MachineView,
    Phase, PhaseTimes, Report, StartMode, Step, Unrecorded,
};
use fireactions_store::{JournalEntry, MachineChange, MachineRow, Store, StoreError};
use fireactions_vmm::Vm;
use tokio::sync::broadcast;

use crate::end::End;
use crate::points;
use crate::views::Views;

/// A store that refuses is asked again for this long where a machine has work: a disk that is full for a while, or a lock
/// that somebody holds, is no reason to lose it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Whether a job's result is in the machine's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is.
    Journaled,
    /// It is not, for the disk is full.
    DiskFull,
    /// It is not. The guest alone knows it beside this server.
    Refused,
}

/// The one writer of a machine's row.
pub(crate) struct Record {
    store: Store,
    events: broadcast::Sender<Event>,
    views: Arc<Views>,
    slot: u32,
    view: MachineView,
    mark: Instant,
    /// The forge has heard how the job went.
    reported: bool,
    /// An earlier server made it.
    adopted: bool,
    /// Why it booted although it was begun as a clone.
    fallback: Option<String>,
    /// When its work began to run, where that is known.
    busy_since: Option<u64>,
}

impl Record {
    pub(crate) fn new(
        store: Store,
        events: broadcast::Sender<Event>,
        views: Arc<Views>,
        row: &MachineRow,
        view: MachineView,
    ) -> Self {
        // The phase that an earlier server left unfinished began when the state was entered.
        let age =
            Duration::try_from(jiff::Timestamp::now().duration_since(row.state_since)).unwrap_or_default();
        let now = Instant::now();
        let mark = now.checked_sub(age).unwrap_or(now);
        let slot = row.slot;
        let adopted = row.pid.is_some();
        let record = Self {
            store,
            events,
            views,
            slot,
            view,
            mark,
            reported: false,
            adopted,
            fallback: None,
            busy_since: None,
        };
        record.publish();
        record
    }

    pub(crate) fn id(&self) -> &MachineId {
        &self.view.id
    }

    /// An earlier server noted when the work began.
    pub(crate) const fn set_busy_since(&mut self, since: Option<u64>) {
        self.busy_since = since;
    }

    /// How long the machine has been busy, also while no server ran. Rows of earlier versions know it by the clock on the wall
    /// alone, which may have been set since.
    pub(crate) fn busy_for(&self) -> Duration {
        let wall = || jiff::Timestamp::now().duration_since(self.view.state_since);
        match self.busy_since {
            Some(since) => Duration::from_micros(uptime().saturating_sub(since)),
            None => Duration::try_from(wall()).unwrap_or_default(),
        }
    }

    /// The job that the forge has not heard the end of.
    pub(crate) fn unreported(&self) -> Option<JobId> {
        self.view.job.clone().filter(|_| !self.reported)
    }

    /// The forge has heard how the job went.
    pub(crate) fn reported(&mut self) {
        self.reported = true;
        if self.view.unrecorded.take().is_some() {
            self.publish();
        }
    }

    /// The forge could not be told how the job went.
    pub(crate) fn unrecorded(&mut self, unrecorded: Unrecorded) {
        self.view.unrecorded = Some(unrecorded);
        self.publish();
    }

    /// An earlier server made the machine.
    pub(crate) const fn is_adopted(&self) -> bool {
        self.adopted
    }

    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    pub(crate) fn view(&self) -> &MachineView {
        &self.view
    }

    async fn change(&mut self, change: MachineChange) -> Result<(), End> {
        let patience = if self.unreported().is_some() { PATIENCE } else { Duration::ZERO };
        self.change_within(patience, change).await
    }

    async fn change_within(&mut self, patience: Duration, change: MachineChange) -> Result<(), End> {
        self.write(patience, change)
            .await
            .map_err(|e| End::failed(FailureKind::Host, "the state store could not be written", &e))
    }

    async fn write(&mut self, patience: Duration, mut change: MachineChange) -> Result<(), StoreError> {
        // Phases ride along with the next change: lost in a crash, they cost a line in a table.
        change.phases = (!self.view.phases.is_empty()).then(|| self.view.phases.clone());
        let step = change.step.as_ref().map(|(step, _)| *step);
        points::before(step);
        let mut pauses = ExponentialBackoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let end = Instant::now() + patience;
        let row = loop {
            match self.store.change_machine(&self.view.id, change.clone()).await {
                Ok(row) => break row,
                Err(error) if error.may_pass() && Instant::now() < end => {
                    tracing::debug!(machine = %self.view.id, %error, "the machine's row is written again");
                    tokio::time::sleep(pauses.failed(rand::random())).await;
                }
                Err(error) => return Err(error),
            }
        };
        points::after(step);
        self.view = MachineView {
            phases: std::mem::take(&mut self.view.phases),
            started: self.view.started,
            unrecorded: self.view.unrecorded.take(),
            ..row.view(self.view.address)
        };
        Ok(())
    }

    /// Writes the intent to begin `step`. Its effect may begin when this returns.
    pub(crate) async fn step(&mut self, step: Step) -> Result<(), End> {
        self.change(MachineChange { step: Some(intent(step)), ..Default::default() }).await
    }

    /// The root image is pinned, and disk and network are about to be made.
    pub(crate) async fn image_then(&mut self, image: &Digest, step: Step) -> Result<(), End> {
        let image = Some(image.clone());
        self.change(MachineChange { step: Some(intent(step)), image, ..Default::default() }).await
    }

    /// The program is about to be asked for: its time begins.
    pub(crate) async fn asks_for_run(&mut self) -> Result<(), End> {
        let since = *self.busy_since.insert(uptime());
        let step = Some((Step::Run, serde_json::json!({ SINCE: since })));
        self.change(MachineChange { step, ..Default::default() }).await
    }

    /// Enters `state` with the step that begins it.
    pub(crate) async fn enter(&mut self, state: MachineState, step: Step) -> Result<(), End> {
        self.change(MachineChange { step: Some(intent(step)), state: Some(state), ..Default::default() })
            .await?;
        self.publish();
        Ok(())
    }

    /// Whether one more machine may be held, of the pool's `max` where that counts; the place is this machine's then.
    pub(crate) fn may_hold(&self, max: Option<u32>) -> bool {
        self.views.may_hold(&self.view.id, &self.view.pool, max)
    }

    /// For how long an operator wants the machine to be held once its job has ended.
    pub(crate) fn wished(&self) -> Option<Duration> {
        self.views.wished(&self.view.id)
    }

    /// Whether this server or an earlier one has asked the guest to run the work.
    pub(crate) fn has_asked_for_run(&self) -> bool {
        self.busy_since.is_some()
    }

    /// The program was started: the work runs. A store that refuses does not change that; the next server asks the guest.
    pub(crate) async fn running(&mut self) {
        let (state, step) = (MachineState::Busy, Step::Running);
        let since = *self.busy_since.get_or_insert_with(uptime);
        let detail = serde_json::json!({ SINCE: since });
        let change = MachineChange { step: Some((step, detail)), state: Some(state), ..Default::default() };
        if let Err(error) = self.change_within(Duration::ZERO, change).await {
            tracing::warn!(machine = %self.view.id, %error, "that the job runs could not be journaled");
            (self.view.state, self.view.step) = (state, step);
            self.view.state_since = jiff::Timestamp::now();
        }
        self.publish();
    }

    /// The program has ended. How, outlives the guest from here on; artifacts and the forge's verdict may take minutes. A store
    /// that refuses changes nothing: the guest knows it too.
    pub(crate) async fn ended(&mut self, report: &Report) {
        let since = self.busy_since;
        let detail = serde_json::json!({ SINCE: since, REPORT: report });
        // That it ran, the store may have refused.
        let (state, step) = (Some(MachineState::Busy), Some((Step::Running, detail)));
        let change = MachineChange { step, state, ..Default::default() };
        let before = self.view.state;
        if let Err(error) = self.write(Duration::ZERO, change).await {
            tracing::debug!(machine = %self.view.id, %error, "the end of a program could not be journaled yet");
        }
        if self.view.state != before {
            self.publish();
        }
    }

    /// How the job ended is known. Journaled, it outlives this server and the guest. A store that refuses changes nothing of
    /// the end. A failure of the machine is seen before its forge hears of the end: what the forge wants next is not begun as
    /// if all were well.
    pub(crate) async fn concluded(&mut self, report: &Report, failure: Option<&Failure>) -> Kept {
        let detail = serde_json::to_value(report).unwrap_or_default();
        let (step, failure) = (Some((Step::Report, detail)), failure.cloned());
        let change = MachineChange { step, failure: failure.clone(), ..Default::default() };
        let kept = match self.write(Duration::ZERO, change).await {
            Ok(()) => Kept::Journaled,
            Err(error) => {
                tracing::warn!(machine = %self.view.id, %error, "a job's result could not be journaled");
                self.view.step = Step::Report;
                self.view.failure.clone_from(&failure);
                if error.is_full() { Kept::DiskFull } else { Kept::Refused }
            }
        };
        if failure.is_some() {
            self.publish();
        }
        kept
    }

    /// The machine is kept until then.
    pub(crate) async fn held(&mut self, until: jiff::Timestamp, failure: Option<Failure>) -> Result<(), End> {
        let change = MachineChange {
            step: Some(intent(Step::Hold)),
            state: Some(MachineState::Held),
            failure,
            held_until: Some(until),
            ..Default::default()
        };
        self.change(change).await?;
        self.publish();
        Ok(())
    }

    /// Begins teardown. A store that refuses must not keep a machine alive, so that is only logged.
    pub(crate) async fn stopping(&mut self, failure: Option<Failure>) {
        let change = MachineChange {
            step: Some(intent(Step::Teardown)),
            state: Some(MachineState::Stopping),
            failure: failure.clone(),
            ..Default::default()
        };
        if self.change_within(Duration::ZERO, change).await.is_err() {
            tracing::error!(machine = %self.view.id, "teardown could not be journaled; continuing without \
                 it");
            self.view.failure = failure;
            self.view.step = Step::Teardown;
            self.view.state = MachineState::Stopping;
            self.view.state_since = jiff::Timestamp::now();
        }
        self.publish();
    }

    /// The VMM process runs, started like this.
    pub(crate) async fn process(&mut self, vm: &Vm, how: StartMode) -> Result<(), End> {
        self.views.runs(&self.view.id, vm.clone());
        let process = Some((vm.process().pid, vm.process().start_ticks));
        let step = Some((Step::Spawned, started_detail(how)));
        self.change(MachineChange { step, process, ..Default::default() }).await?;
        self.view.started = Some(how);
        self.publish();
        Ok(())
    }

    /// The machine was begun as a clone and boots.
    pub(crate) fn fell_back(&mut self, why: String) {
        self.fallback = Some(why);
    }

    /// The agent spoke for the first time.
    pub(crate) fn spoke(&mut self) {
        let fallback = self.fallback.take();
        if let Some(how) = self.view.started {
            let pool = self.view.pool.clone();
            let _ = self.events.send(Event::Started { pool, how, fallback });
        }
    }

    /// Work is bound to this machine. A store that refuses is waited for, as long as for a machine with work. Cancel-safe: the
    /// forge knows of the binding.
    pub(crate) async fn assigned(&mut self, job: &JobId) -> Result<(), End> {
        let change = MachineChange {
            step: Some(intent(Step::Assign)),
            state: Some(MachineState::Starting),
            job: Some(Some(job.clone())),
            ..Default::default()
        };
        self.change_within(PATIENCE, change).await?;
        self.publish();
        Ok(())
    }

    /// An earlier server's VMM process goes on.
    pub(crate) fn adopted(&self, vm: &Vm) {
        self.views.runs(&self.view.id, vm.clone());
    }

    /// The guest is up: others may talk to its agent.
    pub(crate) fn linked(&self, link: Link, image: Arc<ImageConfig>) {
        self.views.linked(&self.view.id, link, image);
    }

    /// Ends a phase that began when the last one ended.
    pub(crate) fn phase(&mut self, phase: Phase) {
        let now = Instant::now();
        self.phase_took(phase, now - self.mark);
        self.mark = now;
    }

    /// Forgets the time since the last phase ended: it belongs to no phase (a warm machine waiting).
    pub(crate) fn restart_clock(&mut self) {
        self.mark = Instant::now();
    }

    /// Notes a phase that was measured elsewhere.
    pub(crate) fn phase_took(&mut self, phase: Phase, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.view.phases.insert(phase, micros);
        let pool = self.view.pool.clone();
        // Nobody listening is fine.
        let _ = self.events.send(Event::Phase { pool, phase, micros });
    }

    pub(crate) fn phases(&self) -> PhaseTimes {
        self.view.phases.clone()
    }

    /// Removes the row: the machine's address, uid and id are free again.
    pub(crate) async fn remove(&self) -> Result<(), StoreError> {
        self.store.remove_machine(&self.view.id).await?;
        self.views.remove(&self.view.id);
        let _ =
            self.events.send(Event::MachineGone { id: self.view.id.clone(), pool: self.view.pool.clone() });
        Ok(())
    }

    fn publish(&self) {
        let view = self.views.put(self.view.clone());
        let _ = self.events.send(Event::Machine { machine: view });
    }
}

const START: &str = "start";
const SINCE: &str = "since";
const REPORT: &str = "report";

/// Microseconds of the clock that deadlines go by, which all processes of this boot of the host have in common. VMMs do not
/// survive a boot.
fn uptime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (secs, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    secs.unwrap_or(0).saturating_mul(1_000_000).saturating_add(nanos.unwrap_or(0) / 1_000)
}

/// How a VMM process was started, for the next server. Undoing does not need it.
fn started_detail(how: StartMode) -> serde_json::Value {
    serde_json::json!({ START: how })
}

/// How a machine's VMM process was started, by its journal.
pub(crate) fn started(journal: &[JournalEntry]) -> Option<StartMode> {
    let spawned = journal.iter().rev().find(|entry| entry.step == Step::Spawned)?;
    serde_json::from_value(spawned.detail.get(START)?.clone()).ok()
}

/// When a machine's work began, by its journal.
pub(crate) fn busy_since(journal: &[JournalEntry]) -> Option<u64> {
    let mut begun = journal.iter().rev().filter(|entry| matches!(entry.step, Step::Run | Step::Running));
    begun.find_map(|entry| entry.detail.get(SINCE)?.as_u64())
}

/// What was being told of a machine's job, by its journal: nothing before, and once the forge has heard it.
pub(crate) fn told(journal: &[JournalEntry]) -> Option<Report> {
    let last = journal.last().filter(|entry| entry.step == Step::Report)?;
    serde_json::from_value(last.detail.clone()).ok()
}

/// How a machine's program ended, by its journal: nothing while that was not known, and once that was being told. Its forge
/// may know better, and a guest that is still there has more of it to give.
pub(crate) fn ended(journal: &[JournalEntry]) -> Option<Report> {
    // A server that took the machine over may have noted again that it runs.
    let mut running = journal.iter().rev().take_while(|entry| entry.step == Step::Running);
    let report = running.find_map(|entry| entry.detail.get(REPORT))?;
    serde_json::from_value(report.clone()).ok()
}

fn intent(step: Step) -> (Step, serde_json::Value) {
    // Everything that undoing needs follows from the machine's id and slot.
    (step, serde_json::Value::Null)
}

#[cfg(test)]
mod tests {
    use fireactions_model::Outcome;

    use super::*;

    fn entry(step: Step, detail: serde_json::Value) -> JournalEntry {
        JournalEntry { step, detail, at: jiff::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn an_end_that_is_known_is_not_forgotten_because_it_is_noted_again_that_the_program_ran() {
        let outcome = Outcome::Exited { code: 0 };
        let (usage, phases) = (fireactions_model::Usage::default(), PhaseTimes::new());
        let report = Report { outcome, usage, phases, notes: vec![], autopsy: None };
        let known = entry(Step::Running, serde_json::json!({ SINCE: 7, REPORT: report }));
        let again = entry(Step::Running, serde_json::json!({ SINCE: 7 }));
        assert_eq!(ended(&[again.clone(), known.clone()]).as_ref(), Some(&report));
        assert_eq!(ended(&[known.clone(), again.clone()]).as_ref(), Some(&report));
        assert_eq!(ended(&[entry(Step::Run, serde_json::Value::Null), again]), None);
        let told = entry(Step::Report, serde_json::to_value(&report).unwrap());
        assert_eq!(ended(&[known, told]), None, "its forge's word stands above it");
    }

    #[test]
    fn a_job_s_time_begins_when_its_program_is_asked_for() {
        let since = |at: u64| serde_json::json!({ SINCE: at });
        let (asked, runs) = (entry(Step::Run, since(7)), entry(Step::Running, since(8)));
        assert_eq!(busy_since(std::slice::from_ref(&asked)), Some(7));
        assert_eq!(busy_since(&[asked, runs]), Some(8));
        assert_eq!(busy_since(&[entry(Step::Run, serde_json::Value::Null)]), None, "of an earlier version");
    }
}
