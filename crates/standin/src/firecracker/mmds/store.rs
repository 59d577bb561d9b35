//! The metadata of a guest: the API writes it, the guest reads it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// The one store of a machine, for the API and for the service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Store>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was put, if anything was.
#[derive(Debug, Default)]
pub(crate) struct Store {
    value: Option<Value>,
}

/// Why something was not stored.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    TooLarge,
    NotInitialized,
}

/// How the guest wants a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Format {
    Json,
    /// As EC2's service says it: a text as it is, an object as the list of its keys.
    Imds,
}

/// Why the guest gets no value.
#[derive(Debug, PartialEq)]
pub(crate) enum Missing {
    NotFound,
    /// IMDS has texts and objects only.
    UnsupportedType,
}

impl Store {
    pub(crate) fn get(&self) -> Value {
        match &self.value {
            None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
            Some(value) => value.clone(),
        }
    }

    pub(crate) fn put(&mut self, value: Value, limit: usize) -> Result<(), Refused> {
        if value.to_string().len() > limit {
            return Err(Refused::TooLarge);
        }
        self.value = Some(value);
        Ok(())
    }

    pub(crate) fn patch(&mut self, patch: &Value, limit: usize) -> Result<(), Refused> {
        let mut value = self.value.clone().ok_or(Refused::NotInitialized)?;
        merge(&mut value, patch);
        self.put(value, limit)
    }

    /// The value at a path, which is a JSON pointer; one slash at its end does not count.
    pub(crate) fn value(&self, path: &str, format: Format) -> Result<String, Missing> {
        let path = path.strip_suffix('/').unwrap_or(path);
        // Nothing stored is null, and there is a root in it.
        let root = self.value.as_ref().unwrap_or(&Value::Null);
        let value = root.pointer(path).ok_or(Missing::NotFound)?;
        match (format, value) {
            (Format::Json, value) => Ok(value.to_string()),
            (Format::Imds, Value::String(text)) => Ok(text.clone()),
            (Format::Imds, Value::Object(map)) => {
                let keys = map.iter().map(|(key, value)| {
                    let slash = if value.is_object() { "/" } else { "" };
                    format!("{key}{slash}")
                });
                Ok(keys.collect::<Vec<_>>().join("\n"))
            }
            _ => Err(Missing::UnsupportedType),
        }
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(map) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_merges_and_the_limit_holds_for_the_whole() {
        let mut store = Store::default();
        assert_eq!(store.patch(&json!({"a": 1}), 100), Err(Refused::NotInitialized));
        store.put(json!({"a": {"b": 1, "c": 2}}), 100).unwrap();
        store.patch(&json!({"a": {"b": null, "d": 3}}), 100).unwrap();
        assert_eq!(store.get(), json!({"a": {"c": 2, "d": 3}}));
        assert_eq!(store.patch(&json!({"e": "x".repeat(100)}), 100), Err(Refused::TooLarge));
        assert_eq!(store.get(), json!({"a": {"c": 2, "d": 3}}));
    }

    #[test]
    fn values_are_found_by_their_path_and_said_in_both_formats() {
        let mut store = Store::default();
        assert_eq!(store.value("/latest", Format::Imds), Err(Missing::NotFound));
        let tree = json!({"latest": {"meta-data": {"id": "i-1", "n": 5, "net": {"mac": "06:00"}}}});
        store.put(tree, 1000).unwrap();
        let imds = |path| store.value(path, Format::Imds);
        assert_eq!(imds("/").as_deref(), Ok("latest/"));
        assert_eq!(imds("/latest/meta-data/").as_deref(), Ok("id\nn\nnet/"));
        assert_eq!(imds("/latest/meta-data/id").as_deref(), Ok("i-1"));
        assert_eq!(imds("/latest/meta-data/n"), Err(Missing::UnsupportedType));
        assert_eq!(imds("/latest/other"), Err(Missing::NotFound));
        let json = |path| store.value(path, Format::Json);
        assert_eq!(json("/latest/meta-data/id").as_deref(), Ok("\"i-1\""));
        assert_eq!(json("/latest/meta-data/net").as_deref(), Ok(r#"{"mac":"06:00"}"#));
        assert_eq!(json("/latest/meta-data/n").as_deref(), Ok("5"));
    }
}
