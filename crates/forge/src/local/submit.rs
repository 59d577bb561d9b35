//! How a job comes in.

use std::fmt;
use std::path::PathBuf;

use fireactions_model::{JobId, JobRecord, JobSpec};
use fireactions_store::Staging;
use tokio::io::AsyncRead;
use tokio::time::timeout;

use super::{LocalForge, SubmitError};

/// Where the bytes of an input file come from.
pub enum FileSource {
    /// A file of this host, read as the server's user: only for paths of trusted callers.
    Path(PathBuf),
    /// A stream that ends after the announced size.
    Reader(Box<dyn AsyncRead + Send + Unpin>),
    /// The bytes themselves.
    Bytes(Vec<u8>),
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Reader(_) => f.write_str("Reader(…)"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// A job on its way in: its files are put one after another, in the order of the spec, and `commit` makes it
/// exist. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Submission {
    forge: LocalForge,
    id: JobId,
    spec: JobSpec,
    staging: Staging,
    put: usize,
}

impl LocalForge {
    /// Judges the job and begins to take it in.
    pub fn begin(&self, spec: JobSpec) -> Result<Submission, SubmitError> {
        let problems = spec.problems(&self.inner.config.limits);
        if !problems.is_empty() {
            return Err(SubmitError::Invalid(problems));
        }
        let id = JobId::from_random(rand::random());
        let staging = self.inner.store.stage(&id);
        Ok(Submission { forge: self.clone(), id, spec, staging, put: 0 })
    }

    /// Takes a job in, with its files. When this returns, job and files are on the disk; when it fails or is
    /// dropped early, there is nothing (a job whose row was just being written may exist).
    pub async fn submit(&self, spec: JobSpec, files: Vec<FileSource>) -> Result<JobRecord, SubmitError> {
        let mut submission = self.begin(spec)?;
        for file in files {
            match file {
                FileSource::Path(path) => {
                    let source = tokio::fs::File::open(&path)
                        .await
                        .map_err(|source| SubmitError::Source { path: path.display().to_string(), source })?;
                    submission.put(source).await?;
                }
                FileSource::Reader(reader) => submission.put(reader).await?,
                FileSource::Bytes(bytes) => submission.put(bytes.as_slice()).await?,
            }
        }
        submission.commit().await
    }
}

impl Submission {
    /// The id that the job will have.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Stores the next input file, which must have exactly its announced size.
    pub async fn put(&mut self, source: impl AsyncRead + Send + Unpin) -> Result<(), SubmitError> {
        let announced = self.spec.files.len();
        let file =
            self.spec.files.get(self.put).ok_or(SubmitError::FileCount { announced, given: self.put + 1 })?;
        let deadline = self.forge.inner.config.upload_deadline;
        match timeout(deadline, self.staging.put(file, source)).await {
            Ok(stored) => stored?,
            Err(_) => return Err(SubmitError::Slow { dest: file.dest.clone(), deadline }),
        }
        self.put += 1;
        Ok(())
    }

    /// Makes the job exist, durably.
    pub async fn commit(self) -> Result<JobRecord, SubmitError> {
        let (announced, given) = (self.spec.files.len(), self.put);
        if announced != given {
            return Err(SubmitError::FileCount { announced, given });
        }
        let inner = &self.forge.inner;
        Ok(inner.store.insert_job(&self.id, &self.spec, self.staging, inner.config.max_queued).await?)
    }
}
