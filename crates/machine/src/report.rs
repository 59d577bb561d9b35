//! The end of work, once it is known: nothing that happens after changes it. It is journaled where the store takes it,
//! and told to the forge without end.

use std::pin::pin;
use std::time::Duration;

use fireactions_model::{
    Autopsy, ExponentialBackoff, Failure, FailureKind, ForgeError, JobId, MachineId, OnFailure, Outcome,
    Report, Unrecorded, Verdict,
};
use tokio::time::{Instant, sleep, timeout};

use crate::asks::Asks;
use crate::autopsy::autopsy;
use crate::end::End;
use crate::life::Life;
use crate::parts::Parts;
use crate::record::Kept;
use crate::release::{deregister, may_have_work};
use crate::undo::free_disk;

/// A machine that is to be held is not given up sooner because its forge does not hear how its job ended.
const HOLD_PATIENCE: Duration = Duration::from_secs(300);
/// A forge answers within this, or is asked again.
const ANSWER: Duration = Duration::from_secs(30);
/// A forge's verdict comes within this, or it is the program's own result that counts. Gitea is asked for a while.
const VERDICT: Duration = Duration::from_secs(120);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The same while it is not known whether there is anything to tell, and the pools still count on the machine.
const LONGEST_DOUBT: Duration = Duration::from_secs(5);

/// How a machine ends whose job ended like this.
fn end_of(job: &JobId, outcome: &Outcome) -> Result<(), End> {
    match outcome {
        Outcome::Exited { code: 0 } | Outcome::Cancelled => Ok(()),
        Outcome::Lost { reason } => {
            Err(End::because(FailureKind::Guest, format!("job {job} was lost: {reason}")))
        }
        Outcome::Exited { code } => Err(End::JobFailed(format!("job {job} returned exit code {code}"))),
        Outcome::Signalled { signal } => {
            Err(End::JobFailed(format!("job {job} was ended by signal {signal}")))
        }
        Outcome::TimedOut => Err(End::JobFailed(format!("job {job} was killed at its deadline"))),
        Outcome::Unstartable { reason } => {
            Err(End::JobFailed(format!("job {job} could not be started: {reason}")))
        }
    }
}

impl Life {
    /// Tells how the job ended, whatever it takes. Returns how its machine ends, which is for nothing where the runner was
    /// `unused`.
    pub(crate) async fn conclude(
        &mut self,
        job: &JobId,
        report: &Report,
        unused: Option<String>,
    ) -> Result<(), End> {
        let end = match unused {
            Some(why) => Err(End::because(FailureKind::Runner, why)),
            None => end_of(job, &report.outcome),
        };
        let failure = match &end {
            Err(End::Failed(failure)) => Some(failure),
            _ => None,
        };
        let kept = self.record.concluded(report, failure).await;
        self.tell(job, report, failure, kept).await;
        fail::fail_point!("machine::told");
        end
    }

    /// The end of a program, as its forge sees it; see [`judged`].
    pub(crate) async fn judge(&mut self, job: &JobId, report: Report) -> (Report, Option<String>) {
        deaf(&mut self.asks, judged(&self.parts, job, report)).await
    }

    /// Tells what an earlier server knew of the job's end, and may have told.
    pub(crate) async fn tell_known(&mut self, report: Report) -> Result<(), End> {
        let Some(job) = self.record.unreported() else { return Ok(()) };
        self.tell(&job, &report, None, Kept::Journaled).await;
        end_of(&job, &report.outcome)
    }

    /// Tells the loss of a job whose machine ended before it could tell by itself, by a failure of its own or because somebody
    /// wanted it gone.
    pub(crate) async fn tell_unfinished(&mut self, why: &str, failure: Option<&Failure>) {
        let job = match self.record.unreported() {
            Some(job) => Some(job),
            None if may_have_work(&self.record) => self.bound_work(failure.is_some()).await,
            None => None,
        };
        let Some(job) = job else { return };
        let autopsy = self.last_look().await;
        let report = match self.ended.take() {
            // The machine goes in any case, and says why.
            Some(ended) => self.judge(&job, ended).await.0,
            None => Report::lost(why.to_owned(), self.record.phases(), autopsy),
        };
        let kept = self.record.concluded(&report, failure).await;
        self.tell(&job, &report, failure, kept).await;
    }

    /// The work that the forge has bound to a machine that has none by its row. The forge is asked until it answers: once the
    /// row is gone, nobody would report the loss. Meanwhile the machine costs the host neither memory nor disk, unless it is to be
    /// held; its work had not begun.
    async fn bound_work(&mut self, failed: bool) -> Option<JobId> {
        let machine = self.record.id().clone();
        let mut pauses = ExponentialBackoff::new(Duration::from_millis(200), LONGEST_DOUBT);
        let mut freed = false;
        let until = self.needed_until(failed);
        loop {
            match deaf(&mut self.asks, deregister(&self.parts, &machine)).await {
                Ok(job) => return job,
                Err(why) if pauses.failures() == 0 => {
                    tracing::error!(%machine, "whether the machine has a job is not known, and is asked again: {why}");
                }
                Err(why) => {
                    tracing::debug!(%machine, why, "whether the machine has a job is still not known");
                }
            }
            if !freed && Instant::now() >= until {
                freed = self.give_back().await;
            }
            deaf(&mut self.asks, sleep(pauses.failed(rand::random()))).await;
        }
    }

    /// Looks at a machine whose job is lost, and kills it: the forge may give the job to another machine as soon as it
    /// hears of the loss, and it must not run in both.
    pub(crate) async fn last_look(&self) -> Autopsy {
        let vm = self.made.vm.as_ref();
        let autopsy = autopsy(self.record.view(), vm).await;
        if let Some(vm) = vm {
            vm.kill().await;
        }
        autopsy
    }

    /// Until when a machine of which the forge does not hear is kept whole: one that `failed` may be held, and one that somebody
    /// wants to look into.
    fn needed_until(&self, failed: bool) -> Instant {
        let on_failure = failed && matches!(self.pool.on_failure, OnFailure::Hold { .. });
        let may_be_held = on_failure || self.record.wished().is_some();
        Instant::now() + if may_be_held { HOLD_PATIENCE } else { Duration::ZERO }
    }

    /// Tells the forge how it went, again and again until it hears. What is told late costs the host no disk meanwhile, for the
    /// machine's own may be what fills it; but while the guest alone knows the result beside this server, it stays. One that is
    /// to be held stays for a while, too: most forges that did not hear are there again soon.
    async fn tell(&mut self, job: &JobId, report: &Report, failure: Option<&Failure>, mut kept: Kept) {
        let machine = self.record.id().clone();
        let mut pauses = ExponentialBackoff::new(Duration::from_millis(200), LONGEST_PAUSE);
        let mut freed = false;
        if matches!(report.outcome, Outcome::Lost { .. }) {
            self.until_dead(&report.outcome).await;
        }
        let until = self.needed_until(end_of(job, &report.outcome).is_err());
        while let Err(why) = deaf(&mut self.asks, tell_once(&self.parts, job, &machine, report)).await {
            if self.record.view().unrecorded.is_none() {
                tracing::error!(%machine, %job, outcome = %report.outcome, "a job's result could not be \
                     recorded, and is reported again until it is: {why}");
            }
            self.record.unrecorded(Unrecorded { outcome: report.outcome.clone(), why });
            let may_free = kept == Kept::DiskFull || (kept == Kept::Journaled && Instant::now() >= until);
            if !freed && may_free {
                freed = self.give_back().await;
            }
            if kept != Kept::Journaled {
                kept = self.record.concluded(report, failure).await;
            }
            deaf(&mut self.asks, sleep(pauses.failed(rand::random()))).await;
        }
        if self.record.view().unrecorded.is_some() {
            tracing::info!(%machine, %job, "the job's result is recorded now");
        }
        self.record.reported();
    }

    /// Ends the VMM, however long it takes: the forge may give the job to another machine as soon as it hears of the loss. What
    /// survives SIGKILL hangs in the host's kernel.
    async fn until_dead(&mut self, outcome: &Outcome) {
        let Some(vm) = self.made.vm.clone() else { return };
        while deaf(&mut self.asks, vm.kill()).await.is_none() {
            let why = format!(
                "its VMM process {} survives SIGKILL, and the loss is told once it is gone",
                vm.process().pid
            );
            if self.record.view().unrecorded.is_none() {
                tracing::error!(machine = %self.record.id(), "{why}");
            }
            self.record.unrecorded(Unrecorded { outcome: outcome.clone(), why });
        }
    }

    /// Ends the VMM and frees the disk. False if it must be tried again.
    async fn give_back(&mut self) -> bool {
        let Self { parts, record, made, .. } = self;
        made.writer = None;
        if let Some(link) = &made.link {
            link.close();
        }
        if let Some(vm) = &made.vm {
            vm.kill().await;
        }
        let process = made.vm.as_ref().map(|vm| *vm.process());
        match free_disk(parts, record.id(), process.as_ref()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(machine = %record.id(), "{error}");
                false
            }
        }
    }
}

/// Waits for something that nothing stops: who asks the machine to go hears at once that it has work.
async fn deaf<T>(asks: &mut Asks, until: impl Future<Output = T>) -> T {
    let mut until = pin!(until);
    loop {
        tokio::select! {
            done = &mut until => return done,
            retire = asks.retire() => drop(retire.answer.send(false)),
        }
    }
}

/// The end of a program, as its forge sees it, and why its runner was made for nothing, where it was. A forge that does not
/// answer has no say.
pub(crate) async fn judged(parts: &Parts, job: &JobId, mut report: Report) -> (Report, Option<String>) {
    let mut notes = std::mem::take(&mut report.notes);
    let verdict = timeout(VERDICT, parts.forge.judge(job, report.outcome.clone(), &mut notes)).await;
    report.notes = notes;
    if let Ok(Verdict { outcome, unused }) = verdict {
        return (Report { outcome, ..report }, unused);
    }
    report
        .notes
        .push(format!("this is the program's own result; the forge did not answer within {VERDICT:?}"));
    (report, None)
}

/// Reports to the forge once. The error says why it must be reported again, for people.
pub(crate) async fn tell_once(
    parts: &Parts,
    job: &JobId,
    machine: &MachineId,
    report: &Report,
) -> Result<(), String> {
    match timeout(ANSWER, parts.forge.finished(job, machine, report)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ForgeError::Unavailable { message, .. })) => Err(message),
        Ok(Err(error)) => {
            tracing::error!(%machine, %job, %error, "the forge refused the job's result");
            Ok(())
        }
        Err(_) => Err(format!("no answer within {ANSWER:?}")),
    }
}
