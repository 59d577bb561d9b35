//! Path, query and JSON extractors whose refusals have the API's one error shape.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::StatusCode;

use crate::{Code, Fault};

/// [`axum::Json`] with our errors.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Fault))]
pub(super) struct Json<T>(pub T);

/// [`axum::extract::Path`] with our errors.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Fault))]
pub(super) struct Path<T>(pub T);

/// [`axum::extract::Query`] with our errors.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Fault))]
pub(super) struct Query<T>(pub T);

fn by_status(status: StatusCode, text: String) -> Fault {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Fault::new(Code::TooLarge, text)
            .hint("send large inputs as files of the job, not inside its specification"),
        _ => Fault::invalid(text),
    }
}

impl From<JsonRejection> for Fault {
    fn from(rejection: JsonRejection) -> Self {
        by_status(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Fault {
    fn from(rejection: PathRejection) -> Self {
        by_status(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Fault {
    fn from(rejection: QueryRejection) -> Self {
        by_status(rejection.status(), rejection.body_text())
    }
}
