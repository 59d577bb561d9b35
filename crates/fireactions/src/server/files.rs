//! How many files the server may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. The usual soft limit of 1024 is for programs that call `select`; the server's
/// connections and machines may need more, and nothing that it starts is given descriptors that high.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(before = ?current, now = ?maximum, "the limit of open files was raised"),
        Err(error) => tracing::warn!(%error, limit = ?current, "the limit of open files cannot be raised"),
    }
}
