//! The built-in queue with what only other forges do, and any of them on a bad day.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use fireactions_forge::local::LocalForge;
use fireactions_model::{
    Cancel, Forge, ForgeError, JobId, MachineId, Offer, Outcome, Output, PhaseTimes, Release, Report,
    Verdict, Work,
};

/// What is odd about a forge; nothing at first.
#[derive(Default)]
pub(crate) struct Oddities {
    /// It has each cancelled job as over.
    pub(crate) over: AtomicBool,
    /// So many times more it does not say whether it has work for a machine.
    pub(crate) unheard_releases: AtomicU32,
    /// So many times more it does not hear that a job runs.
    pub(crate) unheard_starts: AtomicU32,
    /// So many times more it does not hear how a job ended.
    pub(crate) unheard_ends: AtomicU32,
    /// So many of its next verdicts never come.
    pub(crate) missing_verdicts: AtomicU32,
    /// Its runners return 0 for jobs that failed.
    pub(crate) kind_runners: AtomicBool,
}

/// Takes one of so many.
fn took(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn heard(unheard: &AtomicU32) -> Result<(), ForgeError> {
    let unavailable = || ForgeError::Unavailable { message: "a test".to_owned(), retry_after: None };
    if took(unheard) { Err(unavailable()) } else { Ok(()) }
}

pub(crate) struct OddForge {
    pub(crate) queue: LocalForge,
    pub(crate) odd: Arc<Oddities>,
}

#[async_trait]
impl Forge for OddForge {
    async fn acquire(&self, offer: &Offer) -> Result<Work, ForgeError> {
        self.queue.acquire(offer).await
    }

    async fn release(&self, machine: &MachineId) -> Result<Release, ForgeError> {
        heard(&self.odd.unheard_releases)?;
        self.queue.release(machine).await
    }

    async fn started(&self, job: &JobId, machine: &MachineId) -> Result<(), ForgeError> {
        heard(&self.odd.unheard_starts)?;
        self.queue.started(job, machine).await
    }

    async fn output(&self, job: &JobId, machine: &MachineId, output: Output) -> Result<(), ForgeError> {
        self.queue.output(job, machine, output).await
    }

    async fn cancelled(&self, job: &JobId) -> Cancel {
        let why = self.queue.cancelled(job).await;
        if self.odd.over.load(Ordering::SeqCst) { Cancel::Over } else { why }
    }

    async fn judge(&self, job: &JobId, told: Outcome, notes: &mut Vec<String>) -> Verdict {
        if took(&self.odd.missing_verdicts) {
            return pending().await;
        }
        let failed = self.odd.kind_runners.load(Ordering::SeqCst) && told == (Outcome::Exited { code: 0 });
        let outcome = if failed { Outcome::Exited { code: 1 } } else { told };
        self.queue.judge(job, outcome, notes).await
    }

    async fn finished(&self, job: &JobId, machine: &MachineId, report: &Report) -> Result<(), ForgeError> {
        heard(&self.odd.unheard_ends)?;
        self.queue.finished(job, machine, report).await
    }

    async fn undone(&self, job: &JobId, machine: &MachineId, phases: &PhaseTimes) -> Result<(), ForgeError> {
        self.queue.undone(job, machine, phases).await
    }
}
