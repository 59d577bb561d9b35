//! What a forge's word on the cause of a job means.

/// What of events is a branch's own doing: whoever causes one may write to it.
const OF_BRANCHES: [&str; 3] = ["push", "schedule", "workflow_dispatch"];

/// Whether a job that was caused so, for this whole ref, is a branch's (or tag's) own doing.
pub(super) fn is_of_branch(event: &str, reference: &str) -> bool {
    let is_branch = reference.starts_with("refs/heads/") || reference.starts_with("refs/tags/");
    is_branch && OF_BRANCHES.contains(&event)
}
