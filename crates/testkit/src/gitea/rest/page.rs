//! Pages of lists.

use serde_json::Value;

use crate::http::{Ask, Reply};

use super::super::reply::json;
use super::super::state::State;

/// How many there are on a page, unless asked for otherwise.
const USUAL: usize = 30;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    number: usize,
    size: usize,
    /// Forgejo gives all to who asks for no page, whatever the limit, and links as if it had not.
    is_all: bool,
}

impl State {
    pub(super) fn page(&self, ask: &Ask) -> Page {
        let number = |name| ask.param(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        let size = match number("limit") {
            0 => USUAL,
            size => size,
        };
        Page {
            number: number("page").max(1),
            size: size.min(self.page_cap),
            is_all: number("page") == 0 && !self.release.is_gitea(),
        }
    }

    /// A list's answer with the headers that say how long the whole is.
    pub(super) fn paged(&self, ask: &Ask, page: Page, total: usize, body: &Value) -> Reply {
        let links = page.links(&format!("{}{}", self.base, ask.path), ask, total);
        let mut reply = json(200, body);
        let mut exposed = "X-Total-Count";
        if !links.is_empty() {
            exposed = "Link, X-Total-Count";
            reply = reply.header("link", &links.join(","));
        }
        reply.header("x-total-count", &total.to_string()).header("access-control-expose-headers", exposed)
    }
}

impl Page {
    /// Its part of the whole.
    pub(super) fn cut<T>(self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        if self.is_all {
            return all.into_iter().collect();
        }
        all.into_iter().skip((self.number - 1).saturating_mul(self.size)).take(self.size).collect()
    }

    /// To the other pages. Beyond the last page the links are those of the last one.
    fn links(self, url: &str, ask: &Ask, total: usize) -> Vec<String> {
        let last = total.div_ceil(self.size).max(1);
        let here = self.number.min(last);
        let link = |page: usize, relation: &str| {
            let mut query: Vec<(&str, String)> = ask
                .query
                .iter()
                .filter(|(name, _)| name != "page")
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect();
            query.push(("page", page.to_string()));
            query.sort_by_key(|(name, _)| *name);
            let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("<{url}?{}>; rel=\"{relation}\"", query.join("&"))
        };
        let mut links = Vec::new();
        if here < last {
            links.push(link(here + 1, "next"));
            links.push(link(last, "last"));
        }
        if here > 1 {
            links.push(link(1, "first"));
            links.push(link(here - 1, "prev"));
        }
        links
    }
}
