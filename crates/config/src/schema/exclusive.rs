//! Keys that exclude or need each other, for editors. The checks that tell people are in `check`; a test holds the two
//! against each other.

use serde_json::{Value, json};

/// The key is there, with a value.
fn given(key: &str) -> Value {
    json!({"required": [key], "properties": {key: {"not": {"type": "null"}}}})
}

/// The key is there, with a list of something.
fn listed(key: &str) -> Value {
    json!({"required": [key], "properties": {key: {"type": "array", "minItems": 1}}})
}

fn not_both(one: &str, other: &str) -> Value {
    json!({"not": {"allOf": [given(one), given(other)]}})
}

fn needs(one: &str, other: &str) -> Value {
    json!({"if": given(one), "then": given(other)})
}

/// A pool has its size in one of two ways.
pub(super) fn pool() -> Value {
    json!([{"oneOf": [given("max_runners"), given("replicas")]}])
}

/// A pool's runners belong to one place, and there to one group.
pub(super) fn runner() -> Value {
    let scopes = ["organization", "repository", "enterprise"];
    let at_github: Vec<Value> = scopes.iter().map(|scope| given(scope)).collect();
    json!([
        not_both("organization", "repository"),
        not_both("organization", "enterprise"),
        not_both("repository", "enterprise"),
        {"if": {"anyOf": at_github}, "then": not_both("group", "group_id")},
    ])
}

/// GitHub is asked with one kind of credential.
pub(super) fn github() -> Value {
    json!([
        {"oneOf": [given("app_id"), listed("apps"), given("token_file")]},
        needs("app_id", "app_private_key_file"),
        needs("app_private_key_file", "app_id"),
    ])
}

/// A webhook has a secret.
pub(super) fn webhook() -> Value {
    json!([{"anyOf": [given("secret_file"), listed("secret_files")]}])
}
