//! The metadata of a guest. Nobody serves it to the guest; tests look at it through `GET /mmds`.

use serde_json::Value;

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
}
