//! A job's files: `jobs/<job>/in.<n>` (input, in the order of the spec), `out.<n>.tar` (artifacts), `log`,
//! `service.<name>.log` (of the pool's services).
//!
//! Input is durable before the job exists: it is written to `jobs/.new-<job>`, synced, renamed to `jobs/<job>`,
//! and only then the row is inserted. A crash before the row leaves a directory without a row, which the next
//! start removes.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fireactions_model::{InputFile, JobId, ServiceSpec};
use rusqlite::Connection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::{Store, StoreError, dir};

/// Input files of a job that does not exist yet. Dropping it removes them (and the next start would).
#[derive(Debug)]
pub struct Staging {
    temporary: PathBuf,
    place: PathBuf,
    files: usize,
    settled: bool,
    kept: bool,
}

impl Staging {
    /// Stores the next file, which must have exactly the announced size, and syncs it to disk. The caller puts
    /// the deadline around it.
    pub async fn put(
        &mut self,
        file: &InputFile,
        source: impl AsyncRead + Send + Unpin,
    ) -> Result<(), StoreError> {
        if self.files == 0 {
            blocking(self.temporary.clone(), |path| dir::private_dir(&path)).await?;
        }
        let path = self.temporary.join(format!("in.{}", self.files));
        let mut target = tokio::fs::OpenOptions::from(private_new())
            .open(&path)
            .await
            .map_err(StoreError::io("create", &path))?;
        // One byte more tells a longer source without reading all of it.
        let mut source = source.take(file.size.saturating_add(1));
        let actual =
            tokio::io::copy(&mut source, &mut target).await.map_err(StoreError::io("write", &path))?;
        if actual != file.size {
            return Err(StoreError::WrongSize { dest: file.dest.clone(), announced: file.size, actual });
        }
        target.flush().await.map_err(StoreError::io("write", &path))?;
        target.sync_all().await.map_err(StoreError::io("sync", &path))?;
        self.files += 1;
        Ok(())
    }

    /// Moves the files to their place, durably.
    pub(crate) async fn settle(&mut self) -> Result<(), StoreError> {
        if self.files > 0 {
            let (from, to) = (self.temporary.clone(), self.place.clone());
            self.settled = true;
            blocking(from, move |from| {
                dir::sync_dir(&from)?;
                std::fs::rename(&from, &to).map_err(StoreError::io("rename into place", &from))?;
                to.parent().map_or(Ok(()), dir::sync_dir)
            })
            .await?;
        }
        Ok(())
    }

    /// The row is about to be written, and the files are the job's; or it was not, after all.
    pub(crate) fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Best effort: what stays is swept at the next start.
        let _ = std::fs::remove_dir_all(&self.temporary);
        if self.settled {
            let _ = std::fs::remove_dir_all(&self.place);
        }
    }
}

impl Store {
    /// Begins to store the input files of a new job.
    pub fn stage(&self, job: &JobId) -> Staging {
        let jobs = self.jobs_dir();
        Staging {
            temporary: jobs.join(format!(".new-{job}")),
            place: jobs.join(job.as_str()),
            files: 0,
            settled: false,
            kept: false,
        }
    }

    /// Where a job's files are.
    pub fn job_dir(&self, job: &JobId) -> PathBuf {
        self.jobs_dir().join(job.as_str())
    }

    /// Input file number `n` of a job, from 0.
    pub fn input_path(&self, job: &JobId, n: usize) -> PathBuf {
        self.job_dir(job).join(format!("in.{n}"))
    }

    /// Where artifact number `n` of a job belongs, from 0, as a tar archive.
    pub fn artifact_path(&self, job: &JobId, n: usize) -> PathBuf {
        self.job_dir(job).join(format!("out.{n}.tar"))
    }

    /// Makes the job's directory, for artifacts.
    pub async fn make_job_dir(&self, job: &JobId) -> Result<(), StoreError> {
        blocking(self.job_dir(job), |path| dir::private_dir(&path)).await
    }

    /// Keeps what a service of the job's machine has written. Of several attempts, the last one's is kept.
    pub async fn keep_service_log(&self, job: &JobId, service: &str, log: Vec<u8>) -> Result<(), StoreError> {
        let Some(path) = self.service_log_path(job, service) else { return Ok(()) };
        blocking(path, move |path| {
            path.parent().map_or(Ok(()), dir::private_dir)?;
            let partial = path.with_extension("partial");
            std::fs::write(&partial, log).map_err(StoreError::io("write", &partial))?;
            std::fs::rename(&partial, &path).map_err(StoreError::io("rename into place", &partial))
        })
        .await
    }

    /// What a service of the job's machine had written when the job ended, if that was kept.
    pub async fn service_log(&self, job: &JobId, service: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(path) = self.service_log_path(job, service) else { return Ok(None) };
        blocking(path, |path| match std::fs::read(&path) {
            Ok(log) => Ok(Some(log)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        })
        .await
    }

    /// Nothing for what is no service's name: a caller may have it from anybody.
    fn service_log_path(&self, job: &JobId, service: &str) -> Option<PathBuf> {
        ServiceSpec::is_name(service).then(|| self.job_dir(job).join(format!("service.{service}.log")))
    }

    /// Syncs a job's log and artifacts to disk, before its end is told to anybody.
    pub async fn sync_job_files(&self, job: &JobId) -> Result<(), StoreError> {
        blocking(self.job_dir(job), |path| {
            let entries = match std::fs::read_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other.map_err(StoreError::io("list", &path))?,
            };
            for entry in entries {
                let entry = entry.map_err(StoreError::io("list", &path))?;
                // Input was synced when it came.
                if !entry.file_name().as_encoded_bytes().starts_with(b"in.") {
                    let path = entry.path();
                    std::fs::File::open(&path)
                        .and_then(|file| file.sync_all())
                        .map_err(StoreError::io("sync", &path))?;
                }
            }
            dir::sync_dir(&path)?;
            path.parent().map_or(Ok(()), dir::sync_dir)
        })
        .await
    }

    pub(crate) async fn remove_job_files(&self, jobs: Vec<JobId>) -> Result<(), StoreError> {
        let dirs: Vec<PathBuf> = jobs.iter().map(|job| self.job_dir(job)).collect();
        blocking(self.jobs_dir(), move |_| dirs.iter().try_for_each(|dir| remove_tree(dir))).await
    }
}

/// Removes directories of jobs that have no row: submissions cut short, purges cut short. Other names are not
/// ours and stay.
pub(crate) fn sweep(db: &Connection, jobs: &Path) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(jobs).map_err(StoreError::io("list", jobs))? {
        let entry = entry.map_err(StoreError::io("list", jobs))?;
        let file_name = entry.file_name();
        let Some(text) = file_name.to_str() else { continue };
        let stale = match (text.strip_prefix(".new-"), JobId::new(text)) {
            (Some(_), _) => true,
            (None, Ok(job)) => !db
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ?)")?
                .query_row([job.as_str()], |row| row.get::<_, bool>(0))?,
            (None, Err(_)) => false,
        };
        if stale {
            tracing::info!(directory = %entry.path().display(), "removing files of a job that does not exist");
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(StoreError::io("remove", path)),
    }
}

fn private_new() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
}

/// Runs file work on a thread that may block.
pub(crate) async fn blocking<I, T>(
    input: I,
    work: impl FnOnce(I) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError>
where
    I: Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(move || work(input)).await.map_err(|_| StoreError::Closed)?
}
