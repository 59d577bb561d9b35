//! JSON that is anything, and JSON that is nearly right: for what reads it from the network.

// Only tests link this crate, and there a sample that is none is a failed test.
#![allow(clippy::expect_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

/// Any value that is not too deep.
pub fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("2026-13-31T99:00:00Z")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The object with one of its fields, or of those of the object that is its field `inner`, replaced by anything.
///
/// # Panics
///
/// When either is no object.
pub fn with_one_changed(sample: Value, inner: &'static str) -> impl Strategy<Value = Value> {
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let (inside, outside) = (keys(&sample[inner]), keys(&sample));
    (0..inside.len() + outside.len(), any_value()).prop_map(move |(place, value)| {
        let mut changed = sample.clone();
        match inside.get(place) {
            Some(key) => changed[inner][key.as_str()] = value,
            None => changed[outside[place - inside.len()].as_str()] = value,
        }
        changed
    })
}

/// The value's text cut off somewhere, and with a byte changed there.
pub fn damaged(sample: &Value) -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let text = sample.to_string().into_bytes();
    (0..text.len(), any::<u8>()).prop_map(move |(at, byte)| {
        let mut changed = text.clone();
        changed[at] = byte;
        (text[..at].to_vec(), changed)
    })
}
