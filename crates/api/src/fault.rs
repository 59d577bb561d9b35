//! The one shape of an error, on both sides of the wire.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kind of error, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request cannot be carried out as written (400).
    Invalid,
    /// No token, or a wrong one (401).
    Unauthorized,
    /// Not from this origin (403).
    Forbidden,
    /// No such thing (404).
    NotFound,
    /// Not in this state (409).
    Conflict,
    /// More than a limit allows (413).
    TooLarge,
    /// Too often (429).
    TooMany,
    /// Something failed inside the server (500).
    Internal,
    /// The server cannot do it now; later it may (503).
    Unavailable,
    /// A deadline passed (504).
    Timeout,
    /// A newer server said something that this client does not know.
    #[serde(other)]
    Unknown,
}

impl Code {
    /// The HTTP status that carries it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal | Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// Why a request failed, for programs (`code`) and for people (`message`, `hint`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Kind.
    pub code: Code,
    /// What failed, on what, and why. One line.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Longest message, in characters.
const MAX_MESSAGE: usize = 1000;

/// One line that can be shown on a terminal.
pub(crate) fn line(text: &str) -> String {
    let show = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let mut shown: String = text.trim().chars().take(MAX_MESSAGE).map(show).collect();
    if text.trim().chars().nth(MAX_MESSAGE).is_some() {
        shown.push('…');
    }
    shown
}

impl Fault {
    /// A fault without advice. What the request brought into the message is cut and cleaned.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: line(&message.into()), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// [`Code::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// [`Code::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// [`Code::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::Conflict, message)
    }

    /// [`Code::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// [`Code::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }
}

/// The body of every error response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The fault.
    pub error: Fault,
}

/// [`ErrorBody`] without a copy.
#[derive(Serialize)]
pub(crate) struct ErrorBodyRef<'a> {
    pub(crate) error: &'a Fault,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.code.status(), Json(ErrorBody { error: self })).into_response()
    }
}
