//! What caused a job.

/// What caused a job, as its server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its repository, `OWNER/NAME`.
    pub repository: String,
    /// The repository's number.
    pub repository_id: u64,
    /// The repository's default branch.
    pub default_branch: String,
    /// The event: `push`, `pull_request`, `schedule`, …
    pub event: String,
    /// The whole ref (`refs/heads/main`, `refs/pull/7/head`), where it is told beyond doubt.
    pub reference: Option<String>,
}
