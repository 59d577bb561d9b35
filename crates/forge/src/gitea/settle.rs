//! A job that runs no more at its forge while its machine does: how it ended is asked for, and the machine is ended when its
//! runner does not end by itself. A runner for one job is never told that the job was cancelled.

use std::time::Duration;

use fireactions_gitea::{Conclusion, Error as GiteaError, Job, JobStatus, Kind, RunnerId};
use fireactions_model::{Cancel, ExponentialBackoff, GiteaScope, JobId, RemoteJob};
use tokio::time::{Instant, sleep, timeout_at};

use super::{GiteaRemote, job};
use crate::hosted::HostedForge;
use crate::hosted::board::describe;

/// For all tries to learn how a job ended.
const DEADLINE: Duration = Duration::from_secs(60);
/// First and longest pause between two of them.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// How long a runner has for its last words once its job has ended: it sends the rest of the log.
const FAREWELL: Duration = Duration::from_secs(10);

/// Lists of running jobs in a row without a job, after which it is taken to have ended where it cannot be asked for: what changes
/// while a list is read may be missing in one.
const ABSENT: u32 = 5;

/// Finds out how the row's job ended, and sees to its machine's end. Once for each row. The job was missing in the last `absent`
/// lists.
pub(super) fn start(remote: &GiteaRemote, forge: &HostedForge, row: &JobId, known: &RemoteJob, absent: u32) {
    if !forge.settle(row) {
        return;
    }
    let (remote, forge, row, known) = (remote.clone(), forge.clone(), row.clone(), known.clone());
    tokio::spawn(async move {
        let found = match find(&remote, &known, Instant::now() + DEADLINE).await {
            Ok(Some(job)) if job.status == JobStatus::Done => Some(job),
            Ok(None) => None,
            // It is run again, for another runner.
            Ok(Some(job))
                if !job::is_its(&known, &job)
                    || matches!(job.status, JobStatus::Waiting | JobStatus::Blocked) =>
            {
                None
            }
            // It may not be asked for, and is gone for good.
            Err(Untold::Refused) if absent >= ABSENT => None,
            // It had only left the list for a moment, or nobody knows: the next list starts this again.
            Ok(Some(_)) | Err(_) => {
                forge.unsettle(&row);
                return;
            }
        };
        let cancelled = found.as_ref().is_some_and(|job| job.conclusion == Some(Conclusion::Cancelled));
        let closing = row.clone();
        let name = forge.name().clone();
        forge
            .over(&row, true, move |remote| {
                if let Some(job) = found.filter(|_| !job::has_missed(&known, remote)) {
                    describe(remote, &job::remote(&name, &job));
                }
            })
            .await;
        close(forge, closing, cancelled);
    });
}

/// The row's job has ended at its forge. Its machine is ended, too: at once when the job was cancelled, and otherwise when its
/// runner has had the time for its last words.
pub(super) fn close(forge: HostedForge, row: JobId, cancelled: bool) {
    tokio::spawn(async move {
        if !cancelled {
            sleep(FAREWELL).await;
        }
        let there =
            forge.inner().store.job(&row).await.ok().flatten().is_some_and(|row| !row.state.is_final());
        if there {
            tracing::info!(job = %row, cancelled, "the job has ended at its forge; ending its machine");
            forge.end(&row, Cancel::Over);
        }
    });
}

/// Why the forge does not say what became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untold {
    /// It could not be asked in time.
    Late,
    /// It will not say: the token may not ask for it (reading repositories is optional), or too little is known of the job.
    Refused,
}

/// The row's job as the forge has it; nothing when the forge has it no more. It is tried until `until`.
pub(super) async fn find(
    remote: &GiteaRemote,
    known: &RemoteJob,
    until: Instant,
) -> Result<Option<Job>, Untold> {
    let Ok(scope) = known.scope.parse::<GiteaScope>() else { return Err(Untold::Refused) };
    let gitea = &remote.inner.gitea;
    let mut pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
    loop {
        let asked = async {
            // Gitea finds a job by its runner, which is there longer than the row knows the job; from 1.25 on.
            if let (None, Kind::Gitea, Some(repository), Some(runner)) =
                (known.id, gitea.kind(), &known.repository, known.runner_id)
            {
                match gitea.job_of_runner(repository, RunnerId::new(runner)).await {
                    Err(GiteaError::Unsupported { .. }) => {}
                    found => return Some(found),
                }
            }
            match job::of_row(known, &scope) {
                Some(job) => Some(gitea.job(&job).await),
                None => None,
            }
        };
        match timeout_at(until, asked).await {
            // Nothing is known that it could be found by.
            Ok(None) => return Err(Untold::Refused),
            Ok(Some(Ok(found))) => return Ok(found),
            Ok(Some(Err(error))) if error.is_transient() => {
                let pause = pauses.failed(rand::random()).max(error.retry_after().unwrap_or_default());
                if Instant::now() + pause >= until {
                    tracing::debug!(%error, "the result of a job could not be requested from the forge");
                    return Err(Untold::Late);
                }
                sleep(pause).await;
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "the result of a job is unknown");
                return Err(Untold::Refused);
            }
            Err(_) => return Err(Untold::Late),
        }
    }
}
