//! Published descriptions of APIs (Swagger 2.0, OpenAPI 3.0), to hold requests and answers against.
//!
//! The descriptions are not part of this repository. `FIREACTIONS_SPECS` names the directory that has them, by default
//! `../shared/specs` beside the repository.

// Only tests link this crate, and there a broken description is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dialect;
mod examples;
mod fields;
mod query;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value, json};

use crate::{beside, skip};

/// Where the answer's or request's schema is in OpenAPI 3.
const JSON: &str = "application/json";

/// A description.
#[derive(Debug)]
pub struct Spec {
    /// As it was read; references point into it.
    document: Value,
    /// Its schemas as JSON Schema, under the same names.
    schemas: Map<String, Value>,
    closed: bool,
}

impl Spec {
    /// The description in the file of that name, or nothing, said loudly on behalf of `test`, when there is none.
    ///
    /// # Panics
    ///
    /// When `FIREACTIONS_SPECS` is set and the directory lacks the file, or the file is no description.
    pub fn find(test: &str, file: &str) -> Option<Self> {
        read(test, file).map(|text| Self::parse(&text))
    }

    /// Reads YAML or JSON.
    pub fn parse(text: &str) -> Self {
        let document: Value = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).expect("the description is JSON")
        } else {
            // `Off` is a word here.
            let options = serde_saphyr::options! { strict_booleans: true };
            serde_saphyr::from_str_with_options(text, options).expect("the description is YAML")
        };
        assert!(document["paths"].is_object(), "the description has paths");
        let mut spec = Self { document, schemas: Map::new(), closed: false };
        spec.translate();
        spec
    }

    /// The same, but objects have no properties other than those that are described, unless it is said that they may:
    /// for servers that refuse what they do not know.
    #[must_use]
    pub fn closed(mut self) -> Self {
        self.closed = true;
        self.translate();
        self
    }

    /// Gives a schema an example, where a string has a form that the description does not tell. `pointer` is a JSON
    /// pointer into the description.
    ///
    /// # Panics
    ///
    /// When it points to no schema.
    #[must_use]
    pub fn with_example(mut self, pointer: &str, example: &str) -> Self {
        let schema =
            self.document.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} points to nothing"));
        schema.as_object_mut().expect("a schema").insert("example".into(), example.into());
        self
    }

    fn translate(&mut self) {
        self.schemas = Map::new();
        for (container, names) in [
            ("definitions", &self.document["definitions"]),
            ("components", &self.document["components"]["schemas"]),
        ] {
            let Some(names) = names.as_object() else { continue };
            let translated: Map<String, Value> = names
                .iter()
                .map(|(name, schema)| (name.clone(), dialect::translate(schema, self.closed)))
                .collect();
            let translated = if container == "components" {
                json!({ "schemas": translated })
            } else {
                Value::Object(translated)
            };
            self.schemas.insert(container.into(), translated);
        }
    }

    /// All operations as `(method, path)`, such as `("PUT", "/drives/{drive_id}")`.
    pub fn operations(&self) -> BTreeSet<(String, String)> {
        const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];
        let paths = self.document["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &Value)| {
            let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
            methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of).collect()
    }

    /// The operation that a request with this path (without a query) is.
    pub fn operation(&self, method: &str, path: &str) -> Option<(String, String)> {
        let operations = self.operations().into_iter();
        // A literal path wins over one with parameters.
        operations
            .filter(|(m, template)| m == method && fits(template, path))
            .min_by_key(|(_, t)| t.matches('{').count())
    }

    fn described(&self, operation: &(String, String)) -> &Value {
        self.resolve(&self.document["paths"][&operation.1][operation.0.to_lowercase()])
    }

    /// The schema of an operation's body and whether there must be one; nothing when there is no body.
    pub fn body(&self, operation: &(String, String)) -> Option<(&Value, bool)> {
        let described = self.described(operation);
        let required = |value: &Value| value["required"].as_bool().unwrap_or(false);
        if let Some(body) = described.get("requestBody") {
            let body = self.resolve(body);
            return Some((body["content"][JSON].get("schema")?, required(body)));
        }
        let shared = &self.document["paths"][&operation.1]["parameters"];
        let parameters = [&described["parameters"], shared].into_iter().filter_map(Value::as_array).flatten();
        let body = parameters
            .map(|parameter| self.resolve(parameter))
            .find(|parameter| parameter["in"] == "body")?;
        Some((body.get("schema")?, required(body)))
    }

    /// An operation's answers as `(status, schema)`: the status is `200`, `default` and the like; the schema is absent
    /// when there is no body.
    pub fn answers(&self, operation: &(String, String)) -> Vec<(String, Option<&Value>)> {
        let Some(answers) = self.described(operation)["responses"].as_object() else { return Vec::new() };
        let of = |(status, answer): (&String, _)| {
            let answer = self.resolve(answer);
            let schema = answer.get("schema").or_else(|| answer["content"][JSON].get("schema"));
            (status.clone(), schema)
        };
        answers.iter().map(of).collect()
    }

    /// What is wrong with a request; nothing when it is what the description wants.
    pub fn request_problems(&self, method: &str, path: &str, body: Option<&Value>) -> Vec<String> {
        let Some(operation) = self.operation(method, path) else {
            return vec![format!("{method} {path} is not described")];
        };
        match (self.body(&operation), body) {
            (None | Some((_, false)), None) => Vec::new(),
            (None, Some(_)) => vec![format!("{method} {path} has a body")],
            (Some((_, true)), None) => vec![format!("{method} {path} has no body")],
            (Some((schema, _)), Some(body)) => self.problems(schema, body),
        }
    }

    /// Where a value differs from a schema of this description.
    pub fn problems(&self, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validator(schema);
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// What tells whether values fit a schema of this description; for those who have many.
    pub fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let mut root = self.schemas.clone();
        // Draft 4 is what both versions of the description are made from; beside a reference everything is ignored.
        root.insert("$schema".into(), "http://json-schema.org/draft-04/schema#".into());
        root.insert("allOf".into(), json!([dialect::translate(schema, self.closed)]));
        jsonschema::draft4::new(&Value::Object(root)).expect("the description's schemas are schemas")
    }

    /// A sample of an answer that is published with the description, by its name in `components/examples`.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    pub fn sample(&self, name: &str) -> Value {
        let sample = &self.document["components"]["examples"][name]["value"];
        assert!(!sample.is_null(), "there is no sample {name}");
        sample.clone()
    }

    /// Values that fit a schema: with everything, with only what must be there, and with each choice of each part.
    ///
    /// # Panics
    ///
    /// When one does not fit after all.
    pub fn examples(&self, schema: &Value) -> Vec<Value> {
        let examples = examples::of(self, schema);
        let validator = self.validator(schema);
        for example in &examples {
            let problems: Vec<_> = validator.iter_errors(example).collect();
            assert!(problems.is_empty(), "{example} does not fit: {problems:?}");
        }
        examples
    }

    /// Every property that a value of the schema may have, as `Definition.property`, and every choice of an
    /// enumeration, as `Definition.property=choice`.
    pub fn fields(&self, schema: &Value) -> BTreeSet<String> {
        fields::all(self, schema)
    }

    /// Those of [`Self::fields`] that a value has.
    pub fn fields_of(&self, schema: &Value, value: &Value) -> BTreeSet<String> {
        fields::used(self, schema, value)
    }

    /// What a reference refers to; anything else is itself.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
        let pointer = reference.strip_prefix('#').expect("references stay in the document");
        self.resolve(
            self.document.pointer(pointer).unwrap_or_else(|| panic!("{reference} refers to nothing")),
        )
    }
}

/// The text of the file of that name beside the descriptions, or nothing, said loudly on behalf of `test`.
fn read(test: &str, file: &str) -> Option<String> {
    let (specs, is_named) = beside::specs();
    let path = specs.join(file);
    match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if is_named => panic!("FIREACTIONS_SPECS: {}: {error}", path.display()),
        Err(_) => {
            skip::say(
                skip::Kind::Specs,
                test,
                &format!("no {file}; set FIREACTIONS_SPECS to the directory that has it"),
            );
            None
        }
    }
}

/// A JSON document that is published beside the descriptions, such as samples of messages; nothing where there is none,
/// as with [`Spec::find`].
///
/// # Panics
///
/// As [`Spec::find`].
pub fn document(test: &str, file: &str) -> Option<Value> {
    read(test, file).map(|text| serde_json::from_str(&text).expect("the document is JSON"))
}

/// Whether a path is one of those that a template stands for.
pub(crate) fn fits(template: &str, path: &str) -> bool {
    let (mut given, mut wanted) = (path.split('/'), template.split('/'));
    loop {
        match (given.next(), wanted.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if name.starts_with('{') => {
                if part.is_empty() {
                    return false;
                }
            }
            (Some(part), Some(name)) if part == name => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWAGGER: &str = r##"
swagger: "2.0"
paths:
  /things/{id}:
    put:
      parameters:
        - {name: id, in: path, required: true, type: string}
        - {name: body, in: body, required: true, schema: {$ref: "#/definitions/Thing"}}
      responses:
        204: {description: done}
        default: {description: no, schema: {$ref: "#/definitions/Error"}}
  /things/all:
    get:
      responses:
        200: {description: ok, schema: {type: array, items: {$ref: "#/definitions/Thing"}}}
definitions:
  Error: {type: object, properties: {message: {type: string}}}
  Free: {type: object, additionalProperties: true}
  Thing:
    type: object
    required: [name]
    properties:
      name: {type: string}
      size: {type: integer, format: int32, minimum: 1, maximum: 8}
      count: {type: integer, format: int64}
      level: {type: string, enum: [Off, Low]}
      address: {type: string, format: "10.([0-9]|[1-9][0-9])", default: "10.7"}
      properties: {$ref: "#/definitions/Free"}
"##;

    const OPENAPI: &str = r##"{
        "openapi": "3.0.3",
        "paths": {"/jobs/{id}": {
            "post": {
                "requestBody": {"required": false, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}},
                "responses": {"201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}}}
            }
        }},
        "components": {"schemas": {"Job": {
            "type": "object",
            "properties": {"runner": {"type": "string", "nullable": true}, "labels": {"type": "array", "items": {"type": "string"}}},
            "required": ["runner"]
        }}}
    }"##;

    fn problems(spec: &Spec, body: &Value) -> usize {
        spec.request_problems("PUT", "/things/a", Some(body)).len()
    }

    #[test]
    fn requests_are_held_against_swagger() {
        let spec = Spec::parse(SWAGGER);
        assert_eq!(spec.operations().len(), 2);
        assert_eq!(spec.operation("GET", "/things/all").unwrap().1, "/things/all");
        assert_eq!(spec.operation("PUT", "/things/a/b"), None);
        assert_eq!(spec.operation("PUT", "/things/"), None);
        let good =
            json!({"name": "a", "size": 8, "level": "Off", "address": "10.99", "properties": {"any": 1}});
        assert_eq!(spec.request_problems("PUT", "/things/a", Some(&good)), Vec::<String>::new());
        for bad in [
            json!({}),
            json!({"name": 1}),
            json!({"name": "a", "size": 9}),
            json!({"name": "a", "size": 1.5}),
            json!({"name": "a", "count": 9_223_372_036_854_775_808u64}),
            json!({"name": "a", "level": "High"}),
            json!({"name": "a", "address": "10.100"}),
            json!({"name": "a", "address": "x10.9"}),
        ] {
            assert_eq!(problems(&spec, &bad), 1, "{bad}");
        }
        assert!(!spec.request_problems("PUT", "/things/a", None).is_empty());
        assert!(!spec.request_problems("GET", "/things/all", Some(&good)).is_empty());
        assert!(!spec.request_problems("DELETE", "/things/a", None).is_empty());
    }

    #[test]
    fn what_is_not_described_is_refused_by_a_closed_description_only() {
        let more = json!({"name": "a", "more": 1});
        assert_eq!(problems(&Spec::parse(SWAGGER), &more), 0);
        let closed = Spec::parse(SWAGGER).closed();
        assert_eq!(problems(&closed, &more), 1);
        assert_eq!(problems(&closed, &json!({"name": "a", "properties": {"more": 1}})), 0);
    }

    #[test]
    fn requests_are_held_against_openapi() {
        let spec = Spec::parse(OPENAPI);
        let ask = |body: Value| spec.request_problems("POST", "/jobs/1", Some(&body)).len();
        assert_eq!(ask(json!({"runner": null})), 0);
        assert_eq!(ask(json!({"runner": 1})), 1);
        assert_eq!(ask(json!({})), 1);
        assert!(spec.request_problems("POST", "/jobs/1", None).is_empty());
        let answers = spec.answers(&("POST".into(), "/jobs/{id}".into()));
        assert_eq!(answers.len(), 1);
        let examples = spec.examples(answers[0].1.unwrap());
        assert!(examples.iter().any(|example| example["runner"].is_null()));
        assert!(examples.iter().any(|example| example["labels"] == json!([])));
    }

    #[test]
    fn examples_have_every_choice_and_fields_are_found() {
        let spec = Spec::parse(SWAGGER).closed();
        let operation = ("PUT".to_owned(), "/things/{id}".to_owned());
        let (schema, required) = spec.body(&operation).unwrap();
        assert!(required);
        let examples = spec.examples(schema);
        assert!(examples.contains(&json!({"name": "text"})));
        for level in ["Off", "Low"] {
            assert!(examples.iter().any(|example| example["level"] == level), "{level}");
        }
        assert!(
            examples.iter().any(|example| example["size"] == 1) && examples.iter().any(|e| e["size"] == 8)
        );
        let fields = spec.fields(schema);
        assert!(fields.contains("Thing.level=Off") && fields.contains("Thing.size"), "{fields:?}");
        let used = spec.fields_of(schema, &json!({"name": "a", "level": "Low"}));
        assert_eq!(used, ["Thing.level", "Thing.level=Low", "Thing.name"].map(String::from).into());
        assert_eq!(spec.answers(&operation).len(), 2);
    }
}
