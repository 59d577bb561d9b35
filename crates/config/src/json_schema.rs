//! The file's JSON schema.

use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::Config;

/// The file's JSON schema, for editors.
pub fn json_schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = schemars::schema_for!(Config).to_value();
        default_sections(&mut schema);
        schema
    })
}

/// A section that may be left out is as one without any key: each of its keys has its own default.
fn default_sections(schema: &mut Json) {
    let whole = schema.clone();
    let all_optional = |field: &Json| {
        let target = resolve(&whole, field);
        field.get("anyOf").is_none() && target.get("properties").is_some() && target.get("required").is_none()
    };
    let complete = |section: &mut Json| {
        for field in section.get_mut("properties").and_then(Json::as_object_mut).into_iter().flatten() {
            if all_optional(field.1) && field.1.get("default").is_none() {
                field.1["default"] = serde_json::json!({});
            }
        }
    };
    if let Some(sections) = schema.get_mut("$defs").and_then(Json::as_object_mut) {
        sections.values_mut().for_each(complete);
    }
    complete(schema);
    schema["properties"]["pools"]["default"] = serde_json::json!([]);
}

/// Follows a `$ref` into the schema's definitions, and picks the real part of an optional one.
pub(crate) fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let by_name = |schema: &'a Json| {
        schema
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|name| name.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer))
    };
    if let Some(found) = by_name(schema) {
        return found;
    }
    let choices = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    choices.into_iter().find_map(by_name).unwrap_or(schema)
}
