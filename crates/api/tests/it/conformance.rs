//! The server does what its OpenAPI document says: requests made from the document, right ones and wrong ones, get
//! answers that are in the document. `make test-all` looks for longer; `FIREACTIONS_FUZZ_SEED` makes other requests.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;

use fireactions_api::{Limits, server};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, Response};
use serde_json::{Map, Value, json};

use crate::common::{TOKEN, job_id, machine_id, serve, serve_tcp};

/// Requests of each operation; of `make test-all`.
const ROUNDS: (u32, u32) = (20, 1000);

struct Document {
    root: Value,
    /// What is made of a schema, which takes much longer than to use it.
    validators: RefCell<HashMap<String, jsonschema::Validator>>,
}

impl Document {
    fn of_this_api() -> Self {
        Self { root: serde_json::to_value(server::openapi()).unwrap(), validators: RefCell::default() }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(to) => self.resolve(self.root.pointer(to.trim_start_matches('#')).unwrap()),
            None => value,
        }
    }

    /// Why a value is not as a schema says.
    fn mistakes(&self, schema: &Value, value: &Value) -> Option<String> {
        let mut validators = self.validators.borrow_mut();
        let validator = validators.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = json!({"components": self.root["components"]});
            whole.as_object_mut().unwrap().insert("allOf".to_owned(), json!([schema]));
            jsonschema::validator_for(&whole).unwrap()
        });
        let errors: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    fn operations(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = self.root["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, op)| (path.as_str(), method.as_str(), op))
        })
    }
}

/// Makes values of schemas, and spoils them.
struct Maker<'a> {
    document: &'a Document,
    random: StdRng,
}

const ODD: [&str; 9] =
    ["", " ", "\0", "ä\u{202e}", "../..", "-1", "99999999999999999999", "true", "{\"a\":[null]}"];

impl Maker<'_> {
    fn odd_text(&mut self) -> String {
        match self.random.random_range(0..=ODD.len()) {
            n if n < ODD.len() => ODD[n].to_owned(),
            _ => "x".repeat(self.random.random_range(1..3000)),
        }
    }

    fn odd(&mut self) -> Value {
        match self.random.random_range(0..7) {
            0 => Value::Null,
            1 => json!(self.random.random::<bool>()),
            2 => json!(-1),
            3 => json!(1.5),
            4 => json!([1, "a"]),
            5 => json!({"unknown": 1}),
            _ => json!(self.odd_text()),
        }
    }

    /// A value as the schema has it; now and then one that is not.
    fn value(&mut self, schema: &Value, depth: u32) -> Value {
        if self.random.random_range(0..12) == 0 {
            return self.odd();
        }
        let schema = self.document.resolve(schema);
        if let Some(all) = schema["enum"].as_array() {
            return all[self.random.random_range(0..all.len())].clone();
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(all) = schema[key].as_array() {
                let one = &all[self.random.random_range(0..all.len())];
                return self.value(one, depth);
            }
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if kinds.is_empty() {
            return self.odd();
        }
        match kinds[self.random.random_range(0..kinds.len())] {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => json!(self.text(schema)),
            "integer" | "number" => self.number(schema),
            "boolean" => json!(self.random.random::<bool>()),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &Value, depth: u32) -> Value {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut made = Map::new();
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            // Mostly what must be there is, and a third of what may be.
            let there = if required.contains(&key.as_str()) {
                self.random.random_range(0..20) != 0
            } else {
                depth < 6 && self.random.random_range(0..3) == 0
            };
            if there {
                made.insert(key.clone(), self.value(inner, depth + 1));
            }
        }
        if self.random.random_range(0..20) == 0 {
            made.insert("unknown".to_owned(), json!(1));
        }
        Value::Object(made)
    }

    fn array(&mut self, schema: &Value, depth: u32) -> Value {
        let mut items: Vec<Value> = Vec::new();
        if let Some(all) = schema["prefixItems"].as_array() {
            items.extend(all.iter().map(|one| self.value(one, depth + 1)));
        } else if schema["items"].is_object() {
            let most = if depth < 4 { 3 } else { 1 };
            items.extend(
                (0..self.random.random_range(0..most)).map(|_| self.value(&schema["items"], depth + 1)),
            );
        }
        Value::Array(items)
    }

    fn text(&mut self, schema: &Value) -> String {
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        let known = [
            job_id().to_string(),
            machine_id().to_string(),
            "default".to_owned(),
            "debian:12".to_owned(),
            "/in/file".to_owned(),
            "true".to_owned(),
            "registry:5000/team/image:1".to_owned(),
        ];
        let fits: Vec<&String> = known
            .iter()
            .filter(|text| self.document.mistakes(&json!({"pattern": pattern}), &json!(text)).is_none())
            .collect();
        match fits.len() {
            0 => self.odd_text(),
            n => fits[self.random.random_range(0..n)].clone(),
        }
    }

    fn number(&mut self, schema: &Value) -> Value {
        let low = schema["minimum"].as_i64().unwrap_or(-3);
        match self.random.random_range(0..6) {
            0 => json!(low.saturating_sub(1)),
            1 => json!(low),
            2 => json!(u64::MAX),
            3 => json!(i64::from(i32::MAX) + 1),
            _ => json!(low.saturating_add(self.random.random_range(0..1000))),
        }
    }

    /// A request's address with its parameters, and its body.
    fn request(&mut self, path: &str, op: &Value) -> (String, Option<Value>) {
        let (mut address, mut query) = (path.to_owned(), Vec::new());
        for parameter in op["parameters"].as_array().into_iter().flatten() {
            let parameter = self.document.resolve(parameter);
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let value = match self.value(schema, 0) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            let value = escaped(&value);
            if parameter["in"] == "path" {
                // An empty one is another path.
                let value = if value.is_empty() { "-".to_owned() } else { value };
                address = address.replace(&format!("{{{name}}}"), &value);
            } else if parameter["required"] == true || self.random.random::<bool>() {
                query.push(format!("{name}={value}"));
            }
        }
        if !query.is_empty() {
            write!(address, "?{}", query.join("&")).unwrap();
        }
        let schema = &op["requestBody"]["content"]["application/json"]["schema"];
        let body = (!schema.is_null()).then(|| self.value(schema, 0));
        (address, body)
    }
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            all.push(char::from(byte));
        } else {
            write!(all, "%{byte:02X}").unwrap();
        }
        all
    })
}

/// What the answer to a request is against, if anything.
async fn verdict(document: &Document, op: &Value, answer: Response) -> Option<String> {
    let status = answer.status().as_u16();
    let described = &op["responses"][status.to_string()];
    if described.is_null() {
        let text = answer.text().await.unwrap_or_default();
        return Some(format!("status {status} is not described: {text}"));
    }
    let described = document.resolve(described);
    if status == 204 {
        return described.get("content").map(|_| "an answer without a body has one described".to_owned());
    }
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let kind = kind.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().to_owned();
    let content = described["content"].as_object();
    let Some(schema) = content.and_then(|content| content.get(&kind)).map(|content| &content["schema"])
    else {
        return Some(format!("status {status}: content type '{kind}' is not described"));
    };
    // Streams need not end.
    if kind != "application/json" {
        return None;
    }
    let body: Value = answer.json().await.unwrap();
    document.mistakes(schema, &body).map(|why| format!("status {status}: {why}: {body}"))
}

#[tokio::test]
async fn the_server_answers_as_its_document_says() {
    let rounds = if std::env::var_os("FIREACTIONS_LONG").is_some() { ROUNDS.1 } else { ROUNDS.0 };
    let seed = std::env::var("FIREACTIONS_FUZZ_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let document = Document::of_this_api();
    let server = serve(Limits::default()).await;
    let http = reqwest::Client::builder().unix_socket(server.socket.as_path()).build().unwrap();
    let mut maker = Maker { document: &document, random: StdRng::seed_from_u64(seed) };
    let (mut taken, mut refused) = (0, 0);
    for (path, method, op) in document.operations() {
        let method: Method = method.to_uppercase().parse().unwrap();
        for _ in 0..rounds {
            let (address, body) = maker.request(path, op);
            let mut request = http.request(method.clone(), format!("http://localhost{address}"));
            if let Some(body) = &body {
                request = request.json(body);
            }
            let answer = request.send().await.unwrap();
            let fine = answer.status().is_success();
            let context = format!("{method} {address} {body:?} (seed {seed})");
            if let (Some(body), true) = (&body, fine) {
                let schema = &op["requestBody"]["content"]["application/json"]["schema"];
                let wrong = document.mistakes(schema, body);
                assert_eq!(wrong, None, "{context}: it was taken, and the document forbids it");
            }
            assert_eq!(verdict(&document, op, answer).await, None, "{context}");
            if fine {
                taken += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(taken > rounds && refused > rounds, "it tries one kind only: {taken} taken, {refused} refused");
    server.end().await;
}

#[tokio::test]
async fn who_may_ask_is_as_the_document_says() {
    let document = Document::of_this_api();
    assert_eq!(document.root["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let (_api, url) = serve_tcp(Some(TOKEN)).await;
    let mut maker = Maker { document: &document, random: StdRng::seed_from_u64(7) };
    let http = reqwest::Client::new();
    for (path, method, op) in document.operations() {
        let method: Method = method.to_uppercase().parse().unwrap();
        let (address, _) = maker.request(path, op);
        let answer = http.request(method, format!("{url}{address}")).send().await.unwrap();
        let open = op["security"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(answer.status() == 401, !open, "{path}");
        assert_eq!(verdict(&document, op, answer).await, None, "{path}");
    }
}
