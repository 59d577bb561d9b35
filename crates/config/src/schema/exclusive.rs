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
    json!([not_both("max_runners", "replicas")])
}

/// A pool's runners belong to one place of a forge, and there to one group.
pub(super) fn runner() -> Value {
    let scopes = ["organization", "repository", "enterprise", "scope"];
    let any: Vec<Value> = scopes.iter().map(|scope| given(scope)).collect();
    let mut rules = vec![
        json!({"if": {"anyOf": any}, "then": not_both("group", "group_id")}),
        json!({"if": given("forge"), "then": {"anyOf": any}}),
    ];
    for (index, one) in scopes.iter().enumerate() {
        rules.extend(scopes[..index].iter().map(|other| not_both(other, one)));
    }
    rules.into()
}

/// GitHub is asked with one kind of credential.
pub(super) fn github() -> Value {
    json!([
        {"oneOf": [given("app_id"), listed("apps"), given("token_file")]},
        needs("app_id", "app_private_key_file"),
        needs("app_private_key_file", "app_id"),
    ])
}

/// A Gitea or a Forgejo is asked with one kind of token.
pub(super) fn gitea() -> Value {
    json!([{"oneOf": [given("api_token_file"), given("runner_token_file")]}])
}

/// What a Forgejo's section must not be.
pub(super) fn no_webhook() -> Value {
    let mut rule = given("webhook");
    rule["type"] = "object".into();
    rule
}

/// A webhook has a secret.
pub(super) fn webhook() -> Value {
    json!([{"anyOf": [given("secret_file"), listed("secret_files")]}])
}
