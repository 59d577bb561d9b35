//! Jobs of the built-in queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fireactions_api::engine::{Download, EngineStream, Result, Upload};
use fireactions_api::{Fault, JobFilter, LogChunk};
use fireactions_forge::local::{FileSource, LocalForge, SubmitError};
use fireactions_guest_proto::host::LinkError;
use fireactions_machine::Machinery;
use fireactions_model::{JobId, JobRecord, JobSpec, JobState, ServiceSpec, Stream};
use fireactions_store::{LogRecord, LogSource, Store, StoreError};
use futures::StreamExt;

pub(super) async fn submit(forge: &LocalForge, spec: JobSpec, files: Vec<Upload>) -> Result<JobRecord> {
    // The spooled files live until the queue has its own copies.
    let sources = files.iter().map(|upload| FileSource::Path(upload.path.to_path_buf())).collect();
    forge.submit(spec, sources).await.map_err(|error| match &error {
        SubmitError::Invalid(_) | SubmitError::FileCount { .. } => Fault::invalid(error.to_string()),
        SubmitError::Store(StoreError::QueueFull { .. }) => {
            Fault::unavailable(error.to_string()).hint("wait until jobs have run, or cancel some")
        }
        _ => Fault::internal(error.to_string()),
    })
}

/// Jobs of these states, the newest so many.
pub(super) async fn list(forge: &LocalForge, filter: JobFilter) -> Result<Vec<JobRecord>> {
    // Those that wait first, as in [`recent`].
    let kinds: &[&[JobState]] = match (filter.state, filter.active) {
        (Some(state), _) => &[&[state]],
        (None, true) => &[&[JobState::Queued], &[JobState::Assigned, JobState::Running]],
        (None, false) => &[&[]],
    };
    let limit = filter.limit.unwrap_or(100).clamp(1, 1000);
    let mut found: Vec<JobRecord> = Vec::new();
    for states in kinds {
        let filter = fireactions_store::JobFilter { states: states.to_vec(), limit, before: None };
        let jobs = forge.list(filter).await.map_err(|e| store_fault(&e))?;
        let again: BTreeSet<&JobId> = jobs.iter().map(|job| &job.id).collect();
        found.retain(|job| !again.contains(&job.id));
        found.extend(jobs);
    }
    Ok(newest(found, &filter))
}

/// As many as the filter takes, newest first. Of jobs that are not final, those that have a machine go before those that wait:
/// a rush hides nothing that runs.
pub(super) fn newest(mut jobs: Vec<JobRecord>, filter: &JobFilter) -> Vec<JobRecord> {
    jobs.sort_by_key(|job| (filter.active && job.state == JobState::Queued, Reverse(job.queued_at)));
    jobs.truncate(most(filter));
    jobs.sort_by_key(|job| Reverse(job.queued_at));
    jobs
}

/// The most jobs of one kind that are given at once.
pub(super) const MOST: usize = 1000;

/// Jobs that are not final, and the newest so many that are.
pub(super) async fn recent(forge: &LocalForge, ended: u32) -> Result<Vec<JobRecord>> {
    // In the order of a job's life: one that goes on in between is met twice and never missed.
    let kinds: [(&[JobState], u32); 3] =
        [(&[JobState::Queued], 0), (&[JobState::Assigned, JobState::Running], 0), (&JobState::FINAL, ended)];
    let mut found: BTreeMap<JobId, JobRecord> = BTreeMap::new();
    for (states, limit) in kinds {
        let filter = fireactions_store::JobFilter { states: states.to_vec(), limit, before: None };
        let jobs = forge.list(filter).await.map_err(|e| store_fault(&e))?;
        found.extend(jobs.into_iter().map(|job| (job.id.clone(), job)));
    }
    Ok(found.into_values().collect())
}

/// The most jobs that a listing gives.
pub(super) fn most(filter: &JobFilter) -> usize {
    usize::try_from(filter.limit.unwrap_or(100).clamp(1, 1000)).unwrap_or(MOST)
}

pub(super) async fn get(forge: &LocalForge, id: &JobId) -> Result<JobRecord> {
    forge.get(id).await.map_err(|e| store_fault(&e))?.ok_or_else(|| unknown(id))
}

pub(super) async fn cancel(forge: &LocalForge, id: &JobId) -> Result<JobRecord> {
    get(forge, id).await?;
    forge.cancel(id).await.map_err(|e| store_fault(&e))
}

pub(super) async fn log(
    forge: &LocalForge,
    store: &Store,
    id: &JobId,
    from: u64,
    follow: bool,
) -> Result<EngineStream<LogChunk>> {
    get(forge, id).await?;
    if follow {
        let records = forge.follow_log(id, from);
        return Ok(Box::pin(records.map(|record| record.map(chunk).map_err(|e| store_fault(&e)))));
    }
    let log = store.log(id);
    let pages = futures::stream::try_unfold(from, move |from| {
        let log = std::sync::Arc::clone(&log);
        async move {
            let (records, next) = log.read(from).await.map_err(|e| store_fault(&e))?;
            let chunks: Vec<Result<LogChunk>> = records.into_iter().map(|record| Ok(chunk(record))).collect();
            Ok::<_, Fault>((!chunks.is_empty()).then_some((futures::stream::iter(chunks), next)))
        }
    });
    Ok(Box::pin(futures::TryStreamExt::try_flatten(pages)))
}

fn chunk(record: LogRecord) -> LogChunk {
    let (stream, data) = match record.source {
        LogSource::Stdout => (Stream::Stdout, record.data),
        LogSource::Stderr => (Stream::Stderr, record.data),
        LogSource::Note => {
            let note = String::from_utf8_lossy(&record.data);
            (Stream::Stderr, format!("[fireactions] {note}\n").into_bytes())
        }
    };
    LogChunk { next: record.next, at: record.at, stream, data: Bytes::from(data) }
}

pub(super) async fn artifact(
    forge: &LocalForge,
    store: &Store,
    id: &JobId,
    index: usize,
) -> Result<Download> {
    let job = get(forge, id).await?;
    let Some(path) = job.spec.artifacts.get(index) else {
        return Err(Fault::not_found(format!("job {id} has no artifact number {index}"))
            .hint(format!("it asked for {} artifacts, counted from 0", job.spec.artifacts.len())));
    };
    let absent = |why: String| Fault::not_found(format!("artifact {path} of job {id}: {why}"));
    if !job.state.is_final() {
        return Err(
            absent(format!("the job is {}", job.state)).hint("artifacts are copied out when the job ends")
        );
    }
    let note = job.notes.iter().find(|note| note.contains(path.as_str())).cloned();
    let file = tokio::fs::File::open(store.artifact_path(id, index))
        .await
        .map_err(|e| absent(note.unwrap_or_else(|| e.to_string())))?;
    let size = file.metadata().await.map_err(|e| absent(e.to_string()))?.len();
    Ok(Download { size, reader: Box::new(file) })
}

pub(super) async fn service_log(
    forge: &LocalForge,
    store: &Store,
    machines: &Machinery,
    id: &JobId,
    service: &str,
) -> Result<Bytes> {
    let job = get(forge, id).await?;
    let absent = |why: &str| {
        Fault::not_found(format!("job {id} has no log of a service '{service}': {why}")).hint(
            "services are named in the pool's runner.services; of a machine that was lost there is no log",
        )
    };
    if !ServiceSpec::is_name(service) {
        return Err(absent("no service has such a name"));
    }
    let machine = job.machine.as_ref().filter(|_| !job.state.is_final()).and_then(|id| machines.link(id));
    let Some((link, _)) = machine else {
        let kept = store.service_log(id, service).await.map_err(|e| store_fault(&e))?;
        return kept.map(Bytes::from).ok_or_else(|| absent(&format!("the job is {}", job.state)));
    };
    fireactions_machine::service_log(&link, service).await.map(Bytes::from).map_err(|error| match error {
        LinkError::Guest(why) => absent(&why),
        other => Fault::unavailable(format!("the log of service '{service}' of job {id}: {other}")),
    })
}

fn unknown(id: &JobId) -> Fault {
    Fault::not_found(format!("there is no job {id}"))
        .hint("see `fireactions jobs list`; finished jobs are kept for the configured time")
}

pub(super) fn store_fault(error: &StoreError) -> Fault {
    Fault::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use fireactions_model::{PhaseTimes, Usage};
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn job(seed: u8, state: JobState) -> JobRecord {
        JobRecord {
            id: JobId::from_random([seed; 8]),
            spec: serde_json::from_str(r#"{"program":{"command":{"argv":["true"]}}}"#).unwrap(),
            state,
            attempt: 1,
            pool: None,
            machine: None,
            cancel_requested: false,
            outcome: None,
            reason: None,
            usage: Usage::default(),
            phases: PhaseTimes::new(),
            notes: vec![],
            waiting: None,
            autopsy: None,
            remote: None,
            queued_at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seed.into()),
            assigned_at: None,
            started_at: None,
            finished_at: None,
        }
    }

    #[test]
    fn a_rush_hides_nothing_that_runs() {
        let rush = || {
            let mut jobs =
                vec![job(9, JobState::Queued), job(2, JobState::Running), job(1, JobState::Assigned)];
            jobs.extend((3..9).map(|seed| job(seed, JobState::Queued)));
            jobs
        };
        let ids = |active, limit| -> Vec<u64> {
            let filter = JobFilter { active, limit: Some(limit), ..JobFilter::default() };
            newest(rush(), &filter).iter().map(|job| job.queued_at.as_second().unsigned_abs()).collect()
        };
        assert_eq!(ids(true, 4), [9, 8, 2, 1]);
        assert_eq!(ids(false, 4), [9, 8, 7, 6], "of all jobs, the newest are asked for");
        assert_eq!(ids(true, 1), [2]);
    }
}
