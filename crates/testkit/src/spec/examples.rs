//! Values that fit a schema.

use serde_json::{Map, Value, json};

use super::Spec;

/// Deeper than this an optional part is left out: schemas may contain themselves.
const MAX_DEPTH: usize = 8;

/// Most examples of one schema.
const MAX: usize = 2000;

/// The number that stands for "any" where a schema has no bound.
const SOME: i64 = 1000;

/// The first example has everything.
pub(super) fn of(spec: &Spec, schema: &Value) -> Vec<Value> {
    let mut all = choices(spec, schema, 0);
    let mut seen = Vec::new();
    all.retain(|example| {
        let new = !seen.contains(example);
        if new {
            seen.push(example.clone());
        }
        new
    });
    all
}

fn choices(spec: &Spec, schema: &Value, depth: usize) -> Vec<Value> {
    let schema = spec.resolve(schema);
    let mut all = not_null(spec, schema, depth);
    if schema["nullable"] == true {
        all.push(Value::Null);
    }
    all.truncate(MAX);
    all
}

fn not_null(spec: &Spec, schema: &Value, depth: usize) -> Vec<Value> {
    if let Some(choices) = schema["enum"].as_array() {
        return choices.clone();
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(list) = schema[key].as_array() {
            return list.iter().flat_map(|schema| choices(spec, schema, depth)).collect();
        }
    }
    if schema["allOf"].is_array() || schema["properties"].is_object() {
        return objects(spec, schema, depth);
    }
    match schema["type"].as_str() {
        Some("integer") => {
            let (min, max) = bounds(schema);
            vec![max, min]
        }
        Some("number") => vec![json!(0.5)],
        Some("boolean") => vec![json!(true), json!(false)],
        Some("array") => {
            let items =
                if depth < MAX_DEPTH { choices(spec, &schema["items"], depth + 1) } else { Vec::new() };
            items.into_iter().map(|item| json!([item])).chain([json!([])]).collect()
        }
        Some("string") => vec![text(schema)],
        _ => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) if depth < MAX_DEPTH => {
                let values = choices(spec, values, depth + 1).into_iter();
                values.map(|value| json!({ "key": value })).chain([json!({})]).collect()
            }
            Some(Value::Bool(true)) => vec![json!({"key": {"nested": ["value", 1, null]}}), json!({})],
            _ => vec![json!({})],
        },
    }
}

fn bounds(schema: &Value) -> (Value, Value) {
    let some = match schema["format"].as_str() {
        Some("int64") => i64::MAX,
        Some("int32") => i32::MAX.into(),
        _ => SOME,
    };
    let bound = |key: &str, other: i64| schema.get(key).cloned().unwrap_or_else(|| other.into());
    (bound("minimum", 0), bound("maximum", some))
}

fn text(schema: &Value) -> Value {
    for key in ["example", "default"] {
        if schema[key].is_string() {
            return schema[key].clone();
        }
    }
    match schema["format"].as_str() {
        Some("date-time") => json!("2026-01-31T12:00:00Z"),
        Some("uri") => json!("https://example.org/"),
        Some("email") => json!("someone@example.org"),
        _ => json!("text"),
    }
}

/// The properties and the names of those that must be there, through `allOf`.
fn parts<'a>(spec: &'a Spec, schema: &'a Value) -> (Vec<(&'a String, &'a Value)>, Vec<&'a str>) {
    let schema = spec.resolve(schema);
    let mut properties: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
    let mut required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let (more, needed) = parts(spec, part);
        properties.extend(more);
        required.extend(needed);
    }
    (properties, required)
}

fn objects(spec: &Spec, schema: &Value, depth: usize) -> Vec<Value> {
    let (properties, required) = parts(spec, schema);
    let kept =
        properties.into_iter().filter(|(name, _)| depth < MAX_DEPTH || required.contains(&name.as_str()));
    let choices: Vec<(&String, Vec<Value>)> =
        kept.map(|(name, schema)| (name, choices(spec, schema, depth + 1))).collect();
    let first = |(name, values): &(&String, Vec<Value>)| Some(((*name).clone(), values.first()?.clone()));
    let full: Map<String, Value> = choices.iter().filter_map(first).collect();
    let mut least = full.clone();
    least.retain(|name, _| required.contains(&name.as_str()));
    let mut all = vec![Value::Object(full.clone()), Value::Object(least)];
    for (name, values) in &choices {
        for value in values.iter().skip(1) {
            let mut other = full.clone();
            other.insert((*name).clone(), value.clone());
            all.push(Value::Object(other));
        }
    }
    all
}
