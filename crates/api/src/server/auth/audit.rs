//! What was asked for that changes something, by whom, from where, and what came of it: a line of the log each.

use axum::http::{Method, StatusCode};

use super::caller::{Caller, Peer, Role};

/// One request that changes something, until it is answered.
pub(super) struct Deed {
    who: String,
    role: Role,
    from: Option<Peer>,
    method: Method,
    path: String,
}

impl Deed {
    pub(super) fn new(caller: &Caller, method: &Method, path: &str, from: Option<Peer>) -> Self {
        Self {
            who: caller.name.clone(),
            role: caller.role,
            from,
            method: method.clone(),
            path: path.to_owned(),
        }
    }

    /// Says it, with the answer. The query is left out: nothing there says what was done, and people put tokens there.
    pub(super) fn log(self, answer: StatusCode) {
        let Self { who, role, from, method, path } = self;
        let from = from.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        tracing::info!(target: "audit", who, %role, from, %method, path, status = answer.as_u16(), "asked");
    }
}
