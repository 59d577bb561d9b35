//! Answers in the forges' forms.

use serde_json::{Value, json};

use crate::http::Reply;

use super::state::State;

/// The content type of their JSON.
const JSON: &str = "application/json;charset=utf-8";

/// A JSON answer.
pub(super) fn json(status: u16, body: &Value) -> Reply {
    let body = serde_json::to_vec(body).expect("JSON");
    Reply::empty(status).header("content-type", JSON).with_body(body)
}

/// What the router says to a path that it does not have.
pub(super) fn no_such_page() -> Reply {
    Reply::empty(404)
        .header("content-type", "text/plain; charset=utf-8")
        .with_body(b"404 page not found\n".to_vec())
}

impl State {
    /// The form of an error.
    pub(super) fn refusal(&self, status: u16, message: &str) -> Reply {
        json(status, &json!({"message": message, "url": format!("{}/api/swagger", self.root())}))
    }

    /// The form of a 404 with a message of its own; Gitea has one more field there.
    pub(super) fn not_found(&self, message: &str) -> Reply {
        if !self.release.is_gitea() {
            return self.refusal(404, message);
        }
        self.not_found_for(message, &Value::Null)
    }

    /// A 404 that says why.
    pub(super) fn not_found_for(&self, message: &str, errors: &Value) -> Reply {
        let url = format!("{}/api/swagger", self.root());
        json(404, &json!({"errors": errors, "message": message, "url": url}))
    }
}
