//! A ready machine: wait for work, do it, tell how it went.

use std::pin::pin;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use fireactions_image::ImageConfig;
use fireactions_model::{
    Autopsy, Failure, FailureKind, Forge, ForgeError, JobId, MachineId, MachineState, Offer, Outcome,
    PoolSpec, Release, Report, Step, Work,
};
use fireactions_store::MachineRow;
use fireactions_vmm::Vm;
use tokio::time::{Instant, sleep_until, timeout};

use crate::autopsy::autopsy;
use crate::boot::{Guest, died};
use crate::create::Made;
use crate::end::End;
use crate::idle::Idle;
use crate::life::{Ask, Asks};
use crate::parts::Parts;
use crate::record::Record;
use crate::work;

/// A forge that cannot be told anything for this long has lost the job anyway.
const REPORT_DEADLINE: Duration = Duration::from_secs(600);
const RELEASE_DEADLINE: Duration = Duration::from_secs(20);

/// Serves one piece of work, or ends without. A machine that an earlier server gave work goes on with it: the forge
/// binds the same work again.
pub(crate) async fn serve(
    parts: &Parts,
    pool: &PoolSpec,
    record: &mut Record,
    asks: &mut Asks,
    guest: &Guest,
    image: &ImageConfig,
) -> Result<(), End> {
    if record.view().state == MachineState::Held {
        return Ok(());
    }
    let adopted = record.unreported();
    if adopted.is_none() && record.view().state != MachineState::Ready {
        record.enter(MachineState::Ready, Step::Ready).await?;
    }
    let mut memory = Idle::new(parts, record, &guest.vm);
    let work = match wait_for_work(parts, pool, record, asks, guest, &mut memory).await {
        // The earlier server told the end and had no time to go on.
        Err(End::Failed(Failure { kind: FailureKind::Forge, .. })) if record.view().step == Step::Report => {
            record.reported();
            return Ok(());
        }
        other => other?,
    };
    if adopted.as_ref() != Some(&work.job) {
        record.restart_clock();
        record.assigned(&work.job).await?;
    }
    memory.give_back().await;

    let work::Done { outcome, usage, mut notes } =
        work::perform(parts, pool, record, asks, guest, image, &work).await;
    let outcome = parts.forge.judge(&work.job, outcome, &mut notes).await;
    let autopsy = match &outcome {
        Outcome::Lost { .. } => Some(last_look(record, Some(&guest.vm)).await),
        _ => None,
    };
    record.step(Step::Report).await?;
    let end = match &outcome {
        Outcome::Lost { reason } => {
            Err(End::because(FailureKind::Guest, format!("job {} was lost: {reason}", work.job)))
        }
        Outcome::Exited { code: 0 } | Outcome::Cancelled => Ok(()),
        Outcome::Exited { code } => {
            Err(End::JobFailed(format!("job {} returned exit code {code}", work.job)))
        }
        Outcome::Signalled { signal } => {
            Err(End::JobFailed(format!("job {} was ended by signal {signal}", work.job)))
        }
        Outcome::TimedOut => Err(End::JobFailed(format!("job {} was killed at its deadline", work.job))),
        Outcome::Unstartable { reason } => {
            Err(End::JobFailed(format!("job {} could not be started: {reason}", work.job)))
        }
    };
    let report = Report { outcome, usage, phases: record.phases(), notes, autopsy };
    tell(&*parts.forge, &work.job, record.id(), &report).await;
    fail::fail_point!("machine::told");
    record.reported();
    end
}

/// Looks at a machine whose job is lost, and kills it: the forge may give the job to another machine as soon as it
/// hears of the loss, and it must not run in both.
async fn last_look(record: &Record, vm: Option<&Vm>) -> Autopsy {
    let autopsy = autopsy(record.view(), vm).await;
    if let Some(vm) = vm {
        vm.kill().await;
    }
    autopsy
}

/// Tells the loss of a job whose machine ended before it could tell by itself.
pub(crate) async fn tell_unfinished(parts: &Parts, record: &mut Record, made: &Made, why: &str) {
    let job = match record.unreported() {
        Some(job) => Some(job),
        None if may_have_work(record) => deregister(parts, record.id()).await,
        None => None,
    };
    let Some(job) = job else { return };
    let autopsy = last_look(record, made.vm.as_ref()).await;
    let report = Report::lost(why.to_owned(), record.phases(), autopsy);
    tell(&*parts.forge, &job, record.id(), &report).await;
    record.reported();
}

/// Waits until the forge binds work to this machine, the guest dies, somebody wants it gone, or it is idle
/// for too long.
async fn wait_for_work(
    parts: &Parts,
    pool: &PoolSpec,
    record: &Record,
    asks: &mut Asks,
    guest: &Guest,
    memory: &mut Idle,
) -> Result<Work, End> {
    let offer =
        Offer { machine: record.id().clone(), pool: pool.clone(), shape: record.view().shape.clone() };
    let tired = || (!pool.deadlines.idle.is_zero()).then(|| Instant::now() + pool.deadlines.idle);
    let mut idle = tired();
    let mut refusals = 0_u32;
    // Asked once and kept: while the forge makes the work ready (GitHub registers a runner, which may take minutes), the
    // pool may ask again and again whether the machine can go.
    let mut acquire = parts.forge.acquire(&offer);
    let mut taken_back = pin!(memory.take_back());
    loop {
        let why = tokio::select! {
            work = &mut acquire => match work {
                Ok(work) => return Ok(work),
                Err(error) => {
                    pause_after(&error, &mut refusals, record.unreported().is_some()).await?;
                    acquire = parts.forge.acquire(&offer);
                    continue;
                }
            },
            exit = guest.vm.exited() => return Err(died(&exit, "while it waited for work")),
            reason = guest.agent_lost() => {
                return Err(End::because(FailureKind::Guest, format!("{reason} (while it waited for work)")));
            }
            ask = asks.next() => match ask {
                Ask::Kill { why } => return Err(End::Retired(why)),
                Ask::Retire { why, answer } => {
                    let released = released(parts, record.id()).await;
                    let _ = answer.send(released);
                    if released {
                        return Err(End::Retired(why));
                    }
                    continue;
                }
            },
            () = &mut taken_back => continue,
            () = until(idle) => format!("idle for {:?}", pool.deadlines.idle),
        };
        idle = tired();
        // Idle: the forge's word decides here too.
        if released(parts, record.id()).await {
            return Err(End::Retired(why));
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whether the forge may have bound work to this machine that its row does not tell of: it, or the server before, may
/// have ended between the two.
fn may_have_work(record: &Record) -> bool {
    record.view().state == MachineState::Ready && record.view().job.is_none()
}

/// Whether a machine without known work may go. One that is not ready yet was never offered.
pub(crate) async fn may_go(parts: &Parts, record: &Record) -> bool {
    !may_have_work(record) || released(parts, record.id()).await
}

/// Tells the forge that a machine is no more of which no work is known: none will be bound to it. Returns the work that
/// was bound to it already.
pub(crate) async fn deregister(parts: &Parts, machine: &MachineId) -> Option<JobId> {
    match timeout(RELEASE_DEADLINE, parts.forge.release(machine)).await {
        Ok(Ok(Release::Idle)) => None,
        Ok(Ok(Release::Bound(job))) => Some(job),
        Ok(Err(error)) => {
            tracing::warn!(%machine, %error, "the forge did not take a release; its own audit will find the runner");
            None
        }
        Err(_) => {
            tracing::warn!(%machine, "the forge did not answer a release; its own audit will find the runner");
            None
        }
    }
}

/// Asks the forge to let the machine go. False when work is bound to it after all, or when the forge cannot say.
async fn released(parts: &Parts, machine: &MachineId) -> bool {
    match timeout(RELEASE_DEADLINE, parts.forge.release(machine)).await {
        Ok(Ok(Release::Idle)) => true,
        Ok(Ok(Release::Bound(_))) => false,
        Ok(Err(error)) => {
            tracing::warn!(%machine, %error, "the forge could not release the machine; it stays");
            false
        }
        Err(_) => {
            tracing::warn!(%machine, "the forge did not answer a release within {RELEASE_DEADLINE:?}; the machine stays");
            false
        }
    }
}

/// Waits before the forge is asked again; a refusal is final. A machine that has work already is not given up for a forge
/// that is out of reach: what it did would be done again.
async fn pause_after(error: &ForgeError, refusals: &mut u32, has_work: bool) -> Result<(), End> {
    if matches!(error, ForgeError::Refused(_)) {
        return Err(End::failed(FailureKind::Forge, "no work could be had", error));
    }
    *refusals = refusals.saturating_add(1);
    if *refusals > 20 && !has_work {
        return Err(End::failed(FailureKind::Forge, "no work could be had after 20 tries", error));
    }
    let wished = match error {
        ForgeError::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let doubled = Duration::from_millis(200 << (*refusals).min(8));
    let jitter = rand::random_range(0.5..1.5);
    tokio::time::sleep(wished.max(doubled.mul_f64(jitter))).await;
    Ok(())
}

/// Tells the forge how it went, again and again until it hears or the deadline is over.
async fn tell(forge: &dyn Forge, job: &JobId, machine: &MachineId, report: &Report) {
    let once = || async move { forge.finished(job, machine, report).await };
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(30))
        .with_jitter()
        .without_max_times();
    let told = timeout(
        REPORT_DEADLINE,
        once.retry(backoff).when(|error| matches!(error, ForgeError::Unavailable { .. })),
    )
    .await;
    match told {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%machine, %job, %error, "the forge refused the job's result");
        }
        Err(_) => {
            tracing::error!(%machine, %job, "the forge could not be told the job's result in {REPORT_DEADLINE:?}");
        }
    }
}

/// Tells a job's loss for a machine that was undone at start.
pub(crate) async fn tell_lost(
    parts: &Parts,
    job: &JobId,
    row: &MachineRow,
    reason: String,
    console_tail: String,
) {
    let autopsy =
        Autopsy { state: row.state, step: row.step, vmm: Some(reason.clone()), oom_kills: 0, console_tail };
    let report = Report::lost(reason, row.phases.clone(), autopsy);
    tell(&*parts.forge, job, &row.id, &report).await;
}
