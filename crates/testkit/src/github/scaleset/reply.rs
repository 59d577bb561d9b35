//! Answers in the service's form.

use serde_json::{Value, json};

use crate::http::Reply;

/// Where the fake has the service; `runner-registration` tells it to clients.
pub(in super::super) const PREFIX: &str = "/_actions";

/// The service's form of an error.
pub(super) fn failure(status: u16, kind: &str, message: &str) -> Reply {
    let body = json!({
        "$id": "1",
        "innerException": null,
        "message": message,
        "typeName": format!("GitHub.DistributedTask.WebApi.{kind}, GitHub.DistributedTask.WebApi"),
        "typeKey": kind,
        "errorCode": 0,
        "eventId": 3000,
    });
    Reply::json(status, &body)
}

/// A list.
pub(super) fn list(values: impl Iterator<Item = Value>) -> Reply {
    let value: Vec<Value> = values.collect();
    Reply::json(200, &json!({"count": value.len(), "value": value}))
}
