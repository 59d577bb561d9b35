//! The reference page, made from the schema.
//!
//! Doc comments, types, limits, defaults and examples stand once, at the fields. A test compares the page in
//! the repository with what is made here.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::json_schema::{json_schema, resolve};

const HEAD: &str = "# Configuration reference

<!-- Generated from crates/config/src/schema by `make doc`. Do not edit. -->

The server reads one YAML file, by default `/etc/fireactions/config.yaml`. `fireactions validate FILE` checks one
without starting anything: unknown keys, wrong types and values that do not fit together are reported all at
once, each with its line and a suggestion. Every key may be left out unless it says *required*.

Keys of existing hostinger/fireactions files are read with the meaning they have there. Secrets are the exception:
`github.app_private_key`, `basic_auth_users` and other inline secrets are refused, and the message names the key
that takes a file instead. Durations are written with units: `500ms`, `30s`, `10m`, `1h 30m`, `7d`.

A complete example is in [`examples/config.yaml`](../../examples/config.yaml). For runners of a forge there are
[`examples/github.yaml`](../../examples/github.yaml), [`examples/gitea.yaml`](../../examples/gitea.yaml) and
[`examples/forgejo.yaml`](../../examples/forgejo.yaml).
";

/// Sections with the keys of another one, which are shown there.
const AS: &[(&str, &str)] = &[("forgejo", "gitea"), ("gitea.webhook", "github.webhook")];

/// `docs/reference/config.md`, made from the doc comments of the types.
pub fn reference_page() -> String {
    let mut page = Page { root: json_schema(), text: HEAD.to_owned() };
    page.section("Top level", "", "Keys outside any section; the sections follow below.", json_schema());
    page.text
}

struct Page {
    root: &'static Json,
    text: String,
}

impl Page {
    fn section(&mut self, title: &str, prefix: &str, intro: &str, schema: &'static Json) {
        let _ = write!(self.text, "\n## {title}\n\n{intro}\n");
        let list = |name: &str| schema.get(name).and_then(Json::as_array).into_iter().flatten();
        let required: Vec<&str> = list("required").filter_map(Json::as_str).collect();
        let mut inner = Vec::new();
        for (key, field) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            match self.subsection(field) {
                Some((section, below)) => inner.push((key, field, section, below)),
                None => self.key(&format!("{prefix}{key}"), field, required.contains(&key.as_str())),
            }
        }
        for (key, field, section, below) in inner {
            let path = format!("{prefix}{key}{below}");
            let need = if required.contains(&key.as_str()) { " (required)" } else { "" };
            let own = description(field);
            let intro = if own.is_empty() { description(section) } else { own };
            if let Some((_, other)) = AS.iter().find(|(name, _)| *name == path) {
                let anchor = other.replace('.', "");
                let _ = write!(
                    self.text,
                    "\n## `{path}`{need}\n\n{intro}\n\nKeys: those of [`{other}`](#{anchor}).\n"
                );
                continue;
            }
            self.section(&format!("`{path}`{need}"), &format!("{path}."), &intro, section);
        }
    }

    /// The section that a field holds, and how its path goes on: a field may hold a list of them, or some by names.
    fn subsection(&self, field: &'static Json) -> Option<(&'static Json, &'static str)> {
        let target = resolve(self.root, field);
        if target.get("properties").is_some() {
            return Some((target, ""));
        }
        let below = |key: &str, path| Some((resolve(self.root, target.get(key)?), path));
        let inner = below("items", "[]").or_else(|| below("additionalProperties", ".NAME"));
        inner.filter(|(section, _)| section.get("properties").is_some())
    }

    fn key(&mut self, path: &str, field: &'static Json, required: bool) {
        let _ = write!(self.text, "\n### `{path}`\n\n{}\n\n", description(field));
        let target = resolve(self.root, field);
        let mut facts = vec![format!("Type: {}", kind(self.root, field))];
        facts.extend(limits(target).or_else(|| limits(field)));
        if required {
            facts.push("required".to_owned());
        }
        match field.get("default") {
            Some(Json::Null) | None => {}
            Some(value) => facts.push(format!("default: `{}`", yaml(value))),
        }
        if let Some(example) = field.get("examples").and_then(Json::as_array).and_then(|all| all.first()) {
            facts.push(format!("example: `{}`", yaml(example)));
        }
        let _ = writeln!(self.text, "{}.", facts.join("; "));
        let choices = choices(self.root, target);
        for (name, meaning) in &choices {
            let _ = write!(self.text, "\n- `{name}`: {meaning}");
        }
        if !choices.is_empty() {
            self.text.push('\n');
        }
    }
}

fn description(schema: &Json) -> String {
    schema.get("description").and_then(Json::as_str).unwrap_or_default().replace('\n', " ").trim().to_owned()
}

/// The values of an enum with their meanings. One with settings is shown with their defaults.
fn choices(root: &'static Json, schema: &'static Json) -> Vec<(String, String)> {
    let list = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
    list.filter_map(|choice| {
        if let Some(name) = choice.get("const").and_then(Json::as_str) {
            return Some((name.to_owned(), description(choice)));
        }
        let (name, settings) = choice.get("properties")?.as_object()?.iter().next()?;
        let settings = resolve(root, settings).get("properties")?.as_object()?;
        let mut meaning = description(choice);
        let mut defaults = Vec::new();
        for (key, setting) in settings {
            let _ = write!(meaning, " `{key}`: {}", description(setting));
            let limits = limits(setting).map(|limits| format!(" ({limits})")).unwrap_or_default();
            meaning.insert_str(meaning.trim_end_matches('.').len(), &limits);
            defaults.push(format!("{key}: {}", setting.get("default").map(yaml).unwrap_or_default()));
        }
        Some((format!("{name}: {{{}}}", defaults.join(", ")), meaning))
    })
    .collect()
}

fn kind(root: &'static Json, field: &'static Json) -> String {
    let target = resolve(root, field);
    if !choices(root, target).is_empty() {
        return "one of the values below".to_owned();
    }
    if let Some(named) = target.get("additionalProperties").filter(|named| named.is_object()) {
        let lists = named.get("type").and_then(Json::as_str) == Some("array");
        return if lists { "lists of text by name" } else { "sections by name" }.to_owned();
    }
    let names = match target.get("type") {
        Some(Json::String(name)) => vec![name.as_str()],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let names: Vec<&str> = names.into_iter().filter(|name| *name != "null").map(kind_named).collect();
    names.join(", or ")
}

fn kind_named(name: &str) -> &str {
    match name {
        "string" => "text",
        "boolean" => "`true` or `false`",
        "integer" => "whole number",
        "number" => "number",
        "array" => "list of text",
        "object" => "free-form keys and values",
        other => other,
    }
}

fn limits(schema: &Json) -> Option<String> {
    let limit = |name: &str| schema.get(name).filter(|value| value.is_number()).map(ToString::to_string);
    // Machine-sized limits come from the Rust type and tell a reader nothing.
    let high = limit("maximum").filter(|high| !matches!(high.as_str(), "255" | "65535" | "4294967295"));
    match (limit("minimum").map(|low| if low == "0.0" { "0".to_owned() } else { low }), high) {
        (Some(low), Some(high)) => Some(format!("from {low} to {high}")),
        (Some(low), None) => Some(format!("{low} or more")),
        (None, Some(high)) => Some(format!("at most {high}")),
        (None, None) => None,
    }
}

/// A value as it is written in the file, on one line.
fn yaml(value: &Json) -> String {
    match value {
        Json::String(text) if text.is_empty() || text.starts_with('0') => format!("\"{text}\""),
        Json::String(text) if text.starts_with('#') || text.contains('\n') => value.to_string(),
        Json::String(text) => text.clone(),
        Json::Array(items) => format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        Json::Object(keys) => {
            let inner: Vec<_> = keys.iter().map(|(key, value)| format!("{key}: {}", yaml(value))).collect();
            format!("{{{}}}", inner.join(", "))
        }
        other => other.to_string(),
    }
}
