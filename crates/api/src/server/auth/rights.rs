//! Which role each request needs.

use axum::http::Method;

use crate::Role;

/// Whether it only reads.
pub(super) fn reads(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// The role that a request at this route needs. What is not named here is for the administrator, so that a new route is not
/// open by mistake.
pub(super) fn needed(method: &Method, route: &str) -> Role {
    match route {
        // A shell in a machine can do all that its job can.
        "/api/v1/machines/{id}/exec" => Role::Operator,
        // Paths, addresses and what the host allows are for who may change them.
        "/api/v1/config" => Role::Admin,
        // Who may come in may go out. Of another host, that one decides.
        "/api/v1/session" | "/api/v1/hosts/{host}/{*rest}" => Role::Viewer,
        _ if reads(method) => Role::Viewer,
        "/api/v1/jobs"
        | "/api/v1/jobs/{id}/cancel"
        | "/api/v1/machines/{id}"
        | "/api/v1/machines/{id}/hold" => Role::Operator,
        _ => Role::Admin,
    }
}
