//! Messages in protobuf's JSON: 64-bit numbers are strings, what is empty is left out, what is unknown is taken.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::http::Reply;

use super::codes::error;

/// What a field of a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    Texts,
    Objects,
    Object,
}

/// A request: its name, and its fields.
pub(super) type Shape = (&'static str, &'static [(&'static str, Kind)]);

/// A request that has its shape.
#[derive(Debug)]
pub(super) struct Message(Value);

impl Message {
    /// Reads one.
    pub(super) fn read((name, fields): Shape, body: &[u8]) -> Result<Self, Reply> {
        let refuse = |why: &str| {
            error(
                400,
                "invalid_argument",
                &format!("unmarshal message: unmarshal into *runnerv1.{name}: proto: {why}"),
            )
        };
        let text = String::from_utf8_lossy(body);
        let value: Value = serde_json::from_str(&text)
            .map_err(|_| refuse(&format!("syntax error (line 1:1): unexpected token {text}")))?;
        if !value.is_object() {
            return Err(refuse(&format!("syntax error (line 1:1): unexpected token {value}")));
        }
        for (field, kind) in fields {
            let given = &value[*field];
            if !given.is_null() && !kind.takes(given) {
                let at = place(&text, field, given);
                return Err(refuse(&match kind {
                    Kind::Text => format!("(line 1:{at}): invalid value for string field {field}: {given}"),
                    Kind::Number => format!("(line 1:{at}): invalid value for int64 field {field}: {given}"),
                    Kind::Flag => format!("(line 1:{at}): invalid value for bool field {field}: {given}"),
                    Kind::Texts | Kind::Objects | Kind::Object => {
                        format!("syntax error (line 1:{at}): unexpected token {given}")
                    }
                }));
            }
        }
        Ok(Self(value))
    }

    pub(super) fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub(super) fn number(&self, field: &str) -> i64 {
        number(&self.0[field]).unwrap_or_default()
    }

    pub(super) fn flag(&self, field: &str) -> bool {
        self.0[field].as_bool().unwrap_or_default()
    }

    pub(super) fn texts(&self, field: &str) -> Vec<String> {
        let all = self.0[field].as_array().into_iter().flatten();
        all.filter_map(|value| value.as_str().map(ToOwned::to_owned)).collect()
    }

    pub(super) fn has(&self, field: &str) -> bool {
        !self.0[field].is_null()
    }

    pub(super) fn field(&self, field: &str) -> &Value {
        &self.0[field]
    }
}

impl Kind {
    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Number => number(value).is_some(),
            Self::Flag => value.is_boolean(),
            Self::Texts => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            Self::Objects => value.as_array().is_some_and(|all| all.iter().all(Value::is_object)),
            Self::Object => value.is_object(),
        }
    }
}

/// A 64-bit number: a string, or a number.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_str().map_or_else(|| value.as_i64(), |text| text.parse().ok())
}

pub(super) fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// The column of a field's value, from 1 on.
fn place(text: &str, field: &str, value: &Value) -> usize {
    let after = text.find(&format!("\"{field}\"")).unwrap_or_default();
    text[after..].find(&value.to_string()).map_or(1, |at| after + at + 1)
}

/// An answer without what is empty.
pub(super) fn compact(value: Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        Value::Number(_) => false,
    };
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !is_empty(value));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        value => value,
    }
}
