//! What was asked for that changes something, by whom, from where, and what came of it: a line of the log each.

use axum::http::{Method, StatusCode};

use super::caller::{Caller, Source};

/// One request that changes something, until it is answered.
pub(super) struct Deed {
    who: String,
    role: &'static str,
    from: Source,
    method: Method,
    path: String,
}

impl Deed {
    /// `caller` is absent where nobody is known.
    pub(super) fn new(caller: Option<&Caller>, method: &Method, path: &str, from: Source) -> Self {
        Self {
            who: caller.map_or("unknown", |caller| &caller.name).to_owned(),
            role: caller.map_or("none", |caller| caller.role.name()),
            from,
            method: method.clone(),
            path: path.to_owned(),
        }
    }

    /// Says it, with the answer. The query is left out: nothing there says what was done, and people put tokens there.
    pub(super) fn log(self, answer: StatusCode) {
        let Self { who, role, from, method, path } = self;
        tracing::info!(target: "audit", who, role, %from, %method, path, status = answer.as_u16(), "asked");
    }
}
