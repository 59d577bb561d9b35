//! Errors of the runner protocol.

use serde_json::json;

use crate::http::Reply;

use super::super::state::State;

/// A Connect error, as far as the forges use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    InvalidArgument,
    Unauthenticated,
    AlreadyExists,
    Internal,
}

impl Code {
    /// Connect's name, gRPC's name, and the HTTP status.
    fn parts(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::InvalidArgument => ("invalid_argument", "InvalidArgument", 400),
            Self::Unauthenticated => ("unauthenticated", "Unauthenticated", 401),
            Self::AlreadyExists => ("already_exists", "AlreadyExists", 409),
            Self::Internal => ("internal", "Internal", 500),
        }
    }
}

/// Connect's form of an error.
pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({"code": code, "message": message}).to_string();
    Reply::empty(status).header("content-type", "application/json").with_body(body.into_bytes())
}

impl State {
    /// An error that has a code. Gitea loses it on the way and puts it into the words.
    pub(super) fn failure(&self, code: Code, message: &str) -> Reply {
        let (name, grpc, status) = code.parts();
        if self.release.has_codes() {
            return error(status, name, message);
        }
        error(500, "unknown", &format!("rpc error: code = {grpc} desc = {message}"))
    }

    /// An error that has none; Forgejo gives it this one.
    pub(super) fn plain_failure(&self, code: Code, message: &str) -> Reply {
        if self.release.has_codes() { self.failure(code, message) } else { error(500, "unknown", message) }
    }
}
