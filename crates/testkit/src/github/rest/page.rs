//! Lists by pages.

use serde_json::{Map, Value};

use super::super::state::State;
use crate::http::{Ask, Reply};

impl State {
    /// The page of a list that was asked for, under this name beside its count (a bare list when there is none), and
    /// links to the others. `path` is the list's own.
    pub(super) fn page(
        &self,
        ask: &Ask,
        path: &str,
        name: Option<&str>,
        mut all: Vec<Value>,
        more: &[(&str, Value)],
    ) -> Reply {
        let number = |name: &str, default: usize| {
            ask.param(name)
                .and_then(|value| value.parse().ok())
                .filter(|number| *number > 0)
                .unwrap_or(default)
        };
        let (size, page) = (number("per_page", 30).min(100), number("page", 1));
        let (total, last) = (all.len(), all.len().div_ceil(size).max(1));
        let list: Vec<Value> = all.drain(..).skip(size.saturating_mul(page - 1)).take(size).collect();
        let body = match name {
            None => Value::Array(list),
            Some(name) => {
                let mut body: Map<String, Value> =
                    more.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
                body.insert("total_count".into(), total.into());
                body.insert(name.into(), list.into());
                Value::Object(body)
            }
        };
        let others = ask.query.iter().filter(|(name, _)| name != "page" && name != "per_page");
        let others = others.fold(String::new(), |text, (name, value)| text + name + "=" + value + "&");
        let link = |to: usize, rel: &str| {
            format!("<{}{path}?{others}per_page={size}&page={to}>; rel=\"{rel}\"", self.api())
        };
        let mut links = Vec::new();
        if page > 1 {
            links.extend([link(1, "first"), link(page - 1, "prev")]);
        }
        if page < last {
            links.extend([link(page + 1, "next"), link(last, "last")]);
        }
        let reply = Reply::json(200, &body);
        if links.is_empty() { reply } else { reply.header("link", &links.join(", ")) }
    }
}
