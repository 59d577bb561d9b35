//! Paths that stay when names change.

use super::super::known::accounts::ScopeId;

/// A scope's path by its id.
pub(super) fn path_by_id(scope: ScopeId) -> String {
    match scope {
        ScopeId::Account(id) => format!("/organizations/{id}"),
        ScopeId::Repository(id) => format!("/repositories/{id}"),
    }
}
