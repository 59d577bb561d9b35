//! What a configuration comes to, key by key: what the file says, the defaults for the rest, and what each key means.

use serde_json::Value as Json;

use crate::json_schema::{json_schema, resolve};
use crate::tree::{Node, Value};

/// Keys whose values nobody is shown: they are made for secrets, or people put some there.
const HIDDEN: [&str; 4] = ["metadata", "user_data", "env", "environment"];
/// What stands in their place.
const COVER: &str = "…";

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveKey {
    /// Where it is, e.g. `pools[default].runner.image`.
    pub path: String,
    /// Its value: text as it is, everything else as JSON; empty where there is none. Without secrets.
    pub value: String,
    /// The file does not say it.
    pub default: bool,
    /// What it means.
    pub doc: String,
}

/// Every key of a tree that was found right.
pub(crate) fn effective(root: &Node) -> Vec<EffectiveKey> {
    let mut walk = Walk { schema: json_schema(), keys: Vec::new() };
    walk.section("", walk.schema, Some(root));
    walk.keys
}

struct Walk {
    schema: &'static Json,
    keys: Vec<EffectiveKey>,
}

impl Walk {
    fn section(&mut self, prefix: &str, section: &'static Json, node: Option<&Node>) {
        for (key, field) in section.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let node = node.and_then(|node| node.get(key)).filter(|node| node.is_given());
            self.key(format!("{prefix}{key}"), key, field, node);
        }
    }

    fn key(&mut self, path: String, key: &str, field: &'static Json, node: Option<&Node>) {
        let target = resolve(self.schema, field);
        let inner = |of: &str| {
            Some(resolve(self.schema, target.get(of)?)).filter(|it| it.get("properties").is_some())
        };
        match node.map(|node| &node.value) {
            _ if HIDDEN.contains(&key) => {}
            // A section that may be left out, and is, has no keys.
            Some(Value::Map(_)) if target.get("properties").is_some() => {
                return self.section(&format!("{path}."), target, node);
            }
            None if target.get("properties").is_some()
                && field.get("default").is_some_and(Json::is_object) =>
            {
                return self.section(&format!("{path}."), target, None);
            }
            Some(Value::List(items)) if !items.is_empty() => {
                if let Some(section) = inner("items") {
                    for (index, item) in items.iter().enumerate() {
                        let name = item.get("name").and_then(Node::text).map(ToOwned::to_owned);
                        let name = name.unwrap_or_else(|| index.to_string());
                        self.section(&format!("{path}[{name}]."), section, Some(item));
                    }
                    return;
                }
            }
            Some(Value::Map(entries)) if !entries.is_empty() => {
                if let Some(section) = inner("additionalProperties") {
                    for entry in entries {
                        self.section(&format!("{path}.{}.", entry.key), section, Some(&entry.value));
                    }
                    return;
                }
            }
            _ => {}
        }
        let value = match node {
            Some(node) => json(key, node),
            None => field.get("default").cloned().unwrap_or_default(),
        };
        let value = match value {
            Json::Null => String::new(),
            Json::String(text) => text,
            other => other.to_string(),
        };
        let own = |schema: &Json| {
            schema.get("description").and_then(Json::as_str).map(|doc| doc.replace('\n', " "))
        };
        let doc = own(field).or_else(|| own(target)).unwrap_or_default();
        self.keys.push(EffectiveKey { path, value, default: node.is_none(), doc });
    }
}

/// A node without secrets.
fn json(key: &str, node: &Node) -> Json {
    if HIDDEN.contains(&key) {
        return Json::from(COVER);
    }
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Signed(value) => Json::from(*value),
        Value::Unsigned(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Text(text) => Json::from(without_login(text)),
        Value::List(items) => items.iter().map(|item| json("", item)).collect(),
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), json(&entry.key, &entry.value))).collect()
        }
    }
}

/// A URL without the user and password that it may have.
fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{COVER}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{EffectiveKey, Host, parse};

    fn keys(text: &str) -> Vec<EffectiveKey> {
        parse(Path::new("config.yaml"), text.as_bytes(), &Host::unknown()).unwrap().effective
    }

    fn key<'a>(keys: &'a [EffectiveKey], path: &str) -> &'a EffectiveKey {
        let found: Vec<_> = keys.iter().filter(|key| key.path == path).collect();
        assert_eq!(found.len(), 1, "{path}: {keys:#?}");
        found[0]
    }

    #[test]
    fn what_the_file_says_and_the_defaults_for_the_rest() {
        let keys = keys(
            "log_level: debug\nkernel: {image: /boot/vmlinuz}\n\
             pools: [{name: one, max_runners: 2, runner: {image: 'debian:12'}, firecracker: {metadata: {a: hunter2}}}]\n",
        );
        let told = |path: &str| {
            let key = key(&keys, path);
            (key.value.clone(), key.default)
        };
        assert_eq!(told("log_level"), ("debug".to_owned(), false));
        assert_eq!(told("api_socket"), ("/run/fireactions/api.sock".to_owned(), true));
        assert_eq!(told("pools[one].runner.image"), ("debian:12".to_owned(), false));
        assert_eq!(told("pools[one].firecracker.machine_config.vcpu_count"), ("1".to_owned(), true));
        assert_eq!(told("pools[one].max_runners"), ("2".to_owned(), false));
        assert_eq!(told("network.nat"), ("true".to_owned(), true));
        assert_eq!(told("pools[one].firecracker.metadata"), ("…".to_owned(), false));
        assert!(!key(&keys, "pools[one].runner.image").doc.is_empty());
        let all = format!("{keys:?}");
        assert!(!all.contains("hunter2"), "{all}");
    }

    #[test]
    fn a_login_in_an_address_is_not_told() {
        let shown = super::without_login;
        assert_eq!(shown("http://me:p@w@proxy.example:3128/x@y"), "http://…@proxy.example:3128/x@y");
        for same in ["http://proxy.example/x@y", "me@host", "debian:12", ""] {
            assert_eq!(shown(same), same);
        }
    }

    #[test]
    fn every_key_of_the_examples_is_told_once_and_with_its_meaning() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        for name in ["config.yaml", "github.yaml", "gitea.yaml"] {
            let keys = keys(&std::fs::read_to_string(examples.join(name)).unwrap());
            assert!(keys.len() > 80, "{name}: {}", keys.len());
            for one in &keys {
                key(&keys, &one.path);
                assert!(!one.doc.is_empty(), "{name}: {}", one.path);
            }
        }
    }
}
