//! From the schemas of an API's description to JSON Schema, draft 4.

use serde_json::{Map, Value, json};

/// Translates a schema and those in it. What only the description knows becomes what a validator knows: `nullable`,
/// the formats of numbers, and formats that are regular expressions.
pub(super) fn translate(schema: &Value, closed: bool) -> Value {
    let Some(object) = schema.as_object() else { return schema.clone() };
    if object.contains_key("$ref") {
        return schema.clone();
    }
    let mut out = Map::new();
    for (key, value) in object {
        let value = match (key.as_str(), value) {
            ("properties" | "patternProperties", Value::Object(names)) => {
                names.iter().map(|(name, schema)| (name.clone(), translate(schema, closed))).collect()
            }
            ("items" | "not" | "additionalProperties", value) => translate(value, closed),
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                list.iter().map(|schema| translate(schema, closed)).collect()
            }
            ("format", Value::String(format)) => {
                format_of(format, object, &mut out);
                continue;
            }
            _ => value.clone(),
        };
        out.entry(key.clone()).or_insert(value);
    }
    let composed = ["allOf", "anyOf", "oneOf"].iter().any(|key| object.contains_key(*key));
    if closed && !composed && object.contains_key("properties") {
        out.entry("additionalProperties").or_insert(json!(false));
    }
    if object.get("nullable") == Some(&json!(true)) {
        return json!({ "anyOf": [{ "type": "null" }, out] });
    }
    Value::Object(out)
}

fn format_of(format: &str, schema: &Map<String, Value>, out: &mut Map<String, Value>) {
    let mut bounds = |min: i64, max: i64| {
        for (key, bound) in [("minimum", min), ("maximum", max)] {
            out.insert(key.into(), schema.get(key).cloned().unwrap_or_else(|| bound.into()));
        }
    };
    match format {
        "int32" => bounds(i32::MIN.into(), i32::MAX.into()),
        "int64" => bounds(i64::MIN, i64::MAX),
        _ if format.contains(['(', '[']) => {
            out.insert("pattern".into(), format!("^(?:{format})$").into());
        }
        _ => {
            out.insert("format".into(), format.into());
        }
    }
}
