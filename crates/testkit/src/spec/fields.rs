//! Which properties a schema has, and which of them a value has.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Spec;

pub(super) fn all(spec: &Spec, schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(spec, schema, None, "", &mut found);
    found
}

pub(super) fn used(spec: &Spec, schema: &Value, value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(spec, schema, Some(value), "", &mut found);
    found
}

/// Goes through a schema, and through a value with it when there is one. `at` is the property that is looked at, as
/// `Definition.property`.
fn walk(spec: &Spec, schema: &Value, value: Option<&Value>, at: &str, found: &mut BTreeSet<String>) {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let schema = spec.resolve(schema);
    for choice in schema["enum"].as_array().into_iter().flatten() {
        if value.is_none_or(|value| value == choice) {
            let choice = choice.as_str().map_or_else(|| choice.to_string(), str::to_owned);
            found.insert(format!("{at}={choice}"));
        }
    }
    for part in ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()).flatten() {
        walk(spec, part, value, name.unwrap_or(at), found);
    }
    if schema["items"].is_object() {
        match value {
            None => walk(spec, &schema["items"], None, at, found),
            Some(value) => {
                for item in value.as_array().into_iter().flatten() {
                    walk(spec, &schema["items"], Some(item), at, found);
                }
            }
        }
    }
    for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
        let inner = value.map(|value| &value[property]);
        if inner.is_some_and(Value::is_null) {
            continue;
        }
        let path = format!("{}.{property}", name.unwrap_or(at));
        // A schema that contains itself ends where nothing new is found.
        let new = found.insert(path.clone());
        if new || inner.is_some() {
            walk(spec, schema, inner, &path, found);
        }
    }
}
