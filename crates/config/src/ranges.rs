//! The limits that the schema states, checked on the tree.
//!
//! The limits stand once, as `#[schemars(range(…))]` beside the field: the reference page prints them and this
//! module enforces them.

use std::collections::HashSet;

use serde_json::Value as Json;

use crate::json_schema::{json_schema, resolve};
use crate::problem::Problem;
use crate::tree::{Node, Value};

/// Every value outside its limits, and their ids.
pub(crate) fn check(root: &Node) -> (Vec<Problem>, HashSet<u32>) {
    let schema = json_schema();
    let mut walk = Walk { schema, problems: Vec::new(), ids: HashSet::new() };
    walk.node(schema, root, "");
    (walk.problems, walk.ids)
}

struct Walk<'a> {
    schema: &'a Json,
    problems: Vec<Problem>,
    ids: HashSet<u32>,
}

impl Walk<'_> {
    fn node(&mut self, schema: &'_ Json, node: &Node, path: &str) {
        let schema = resolve(self.schema, schema);
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    if let Some(inner) = property(schema, &entry.key) {
                        let path =
                            if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                        self.node(inner, &entry.value, &path);
                    }
                }
            }
            Value::List(items) => {
                if let Some(inner) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.node(inner, item, &format!("{path}[{index}]"));
                    }
                }
            }
            Value::Unsigned(number) => {
                #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
                self.number(schema, *number as f64, &number.to_string(), node, path);
            }
            Value::Signed(number) => {
                #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
                self.number(schema, *number as f64, &number.to_string(), node, path);
            }
            Value::Float(number) => self.number(schema, *number, &number.to_string(), node, path),
            Value::Null | Value::Bool(_) | Value::Text(_) => {}
        }
    }

    fn number(&mut self, schema: &Json, number: f64, shown: &str, node: &Node, path: &str) {
        let limit = |name: &str| schema.get(name).and_then(Json::as_f64);
        let (low, high) = (limit("minimum"), limit("maximum"));
        if low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high) || number.is_nan() {
            let help = match (low, high) {
                (Some(low), Some(high)) => format!("use a value from {low} to {high}"),
                (Some(low), None) => format!("use {low} or more"),
                (_, high) => format!("use at most {}", high.unwrap_or(f64::MAX)),
            };
            let message = format!("{path} cannot be {shown}");
            self.ids.insert(node.id);
            self.problems.push(Problem::new(node.span.clone(), message).help(help));
        }
    }
}

/// A key of a section, the variant of an enum that is written as one, or a section among others that have names.
fn property<'a>(schema: &'a Json, key: &str) -> Option<&'a Json> {
    let variants = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
    let own = std::iter::once(schema).chain(variants).find_map(|one| one.get("properties")?.get(key));
    own.or_else(|| schema.get("additionalProperties").filter(|named| named.is_object()))
}
