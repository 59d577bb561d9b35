//! The REST API, and the registration of the runner protocol.

mod access;
mod job;
mod job_of_runner;
mod jobs;
mod origin;
mod register;
mod runners;

pub use access::{Access, Check, Need};
pub use jobs::MAX_JOBS;

use fireactions_http::Response;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::address::{path, rest};
use crate::caller::Call;
use crate::pages::{LIMIT, Page};
use crate::{Error, Gitea, Scope};

impl Gitea {
    /// An address below a scope's `actions`.
    fn actions(&self, scope: &Scope, more: &[&str]) -> Url {
        let mut at = path(scope);
        at.push("actions");
        at.extend(more);
        rest(self.base(), &at)
    }

    /// Sends a call that is answered with 200 or fails.
    async fn ok(&self, call: &Call) -> Result<Response, Error> {
        let response = self.caller().send(call).await?;
        if response.status == StatusCode::OK { Ok(response) } else { Err(self.failure(call, &response)) }
    }

    /// One page of a list; `id` is an item's number.
    async fn list_page<T: DeserializeOwned>(
        &self,
        call: &Call,
        number: usize,
        id: impl Fn(&T) -> u64,
    ) -> Result<Page<T>, Error> {
        let mut call = call.clone();
        call.url
            .query_pairs_mut()
            .append_pair("page", &number.to_string())
            .append_pair("limit", &LIMIT.to_string());
        let response = self.ok(&call).await?;
        let wire: List<T> = self.read(&response, "a page of a list")?;
        let told = response.header("x-total-count").and_then(|count| count.trim().parse().ok());
        let (items, total) = wire.parts();
        let items = items.into_iter().map(|item| (id(&item), item)).collect();
        Ok(Page { items, total: total.or(told) })
    }
}

/// A list: an array with its length in a header, `null` when it is empty, or an object with its length inside.
#[derive(Deserialize)]
#[serde(untagged)]
enum List<T> {
    Array(Vec<T>),
    Object {
        // It may be `null`, and must be there.
        #[serde(
            alias = "runners",
            alias = "jobs",
            alias = "workflow_runs",
            deserialize_with = "Option::deserialize"
        )]
        items: Option<Vec<T>>,
        #[serde(default)]
        total_count: Option<usize>,
    },
    Nothing(()),
}

impl<T> List<T> {
    fn parts(self) -> (Vec<T>, Option<usize>) {
        match self {
            Self::Array(items) => (items, None),
            Self::Object { items, total_count } => (items.unwrap_or_default(), total_count),
            Self::Nothing(()) => (Vec::new(), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_shape() {
        let read = |text: &str| serde_json::from_str::<List<u8>>(text).map(List::parts).ok();
        assert_eq!(read("[1,2]"), Some((vec![1, 2], None)));
        assert_eq!(read("null"), Some((vec![], None)));
        assert_eq!(read(r#"{"runners":[1],"total_count":6}"#), Some((vec![1], Some(6))));
        assert_eq!(read(r#"{"jobs":null,"total_count":0}"#), Some((vec![], Some(0))));
        assert_eq!(read(r#"{"workflow_runs":[],"total_count":0}"#), Some((vec![], Some(0))));
        for wrong in ["1", "\"x\"", r#"{"jobs":1}"#, "{}", r#"{"message":"no"}"#, "[300]"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
