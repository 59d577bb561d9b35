//! The REST API (<https://docs.github.com/rest>), version 2022-11-28.

mod access;
mod jobs;
mod origin;
mod repositories;
mod runners;

use fireactions_http::Response;
use reqwest::StatusCode;
use reqwest::header::LINK;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use crate::auth::{Auth, Authorized};
use crate::caller::{Call, Signed, Signer};
use crate::response::Meaning as _;
use crate::{Error, Github, Scope};

pub use access::{Access, AppAccess, MissingPermission};
pub use origin::Origin;
pub use repositories::ListedRepository;

/// Pages of a list that are read. GitHub has at most 10,000 runners in a group, and shows at most 1,000 runs.
const MAX_PAGES: usize = 200;
/// What GitHub gives on a page at most.
const PER_PAGE: &str = "100";

impl Github {
    /// Sends a call with the scope's credential; a 401 is met by another credential, once.
    pub(crate) async fn call(&self, scope: &Scope, call: &Call) -> Result<Response, Error> {
        self.call_until(scope, call, self.caller().deadline()).await
    }

    async fn call_until(&self, scope: &Scope, call: &Call, until: Instant) -> Result<Response, Error> {
        self.caller().ask_until(ByScope { auth: self.auth(), scope, call, used: None }, until).await
    }

    /// All items of a list, page by page; `items` takes them from a page.
    async fn list<P: DeserializeOwned, T>(
        &self,
        scope: &Scope,
        mut call: Call,
        items: impl Fn(P) -> Vec<T>,
    ) -> Result<Vec<T>, Error> {
        call.url.query_pairs_mut().append_pair("per_page", PER_PAGE);
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let response = self.call(scope, &call).await?;
            if response.status != StatusCode::OK {
                return Err(response.failure());
            }
            all.extend(items(response.json("a page of a list")?));
            match next(&response, &call.url)? {
                Some(url) => call.url = url,
                None => return Ok(all),
            }
        }
        let why = format!("the list has more than {MAX_PAGES} pages");
        Err(Error::Unexpected { doing: call.doing, why })
    }
}

/// Signs with the credential that serves a scope.
struct ByScope<'a> {
    auth: &'a Auth,
    scope: &'a Scope,
    call: &'a Call,
    used: Option<Authorized>,
}

impl Signer for ByScope<'_> {
    async fn sign(&mut self, until: Instant) -> Result<Signed, Error> {
        let used = self.used.insert(self.auth.authorize(self.scope, until).await?);
        let (credential, authorization) = (used.label.clone(), used.header.clone());
        Ok(Signed { call: self.call.clone(), credential, authorization })
    }

    async fn renew(&mut self, _: &Response, _: Instant) -> Result<(), Error> {
        if let Some(used) = &self.used {
            self.auth.refused(used);
        }
        Ok(())
    }
}

/// The next page's address, of RFC 8288's header. It must be where this page was: the credential is sent there.
fn next(response: &Response, here: &Url) -> Result<Option<Url>, Error> {
    let unexpected = |why: &str| Error::Unexpected { doing: response.doing.clone(), why: why.to_owned() };
    let links = response.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let links = links.flat_map(|value| value.split(',')).filter_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = rest.split(';').any(|part| {
            let relation = part.trim().strip_prefix("rel=").map(|value| value.trim_matches('"'));
            relation.is_some_and(|value| value.split(' ').any(|word| word == "next"))
        });
        is_next.then_some(target)
    });
    let Some(target) = links.into_iter().next() else { return Ok(None) };
    let url = here.join(target).map_err(|_| unexpected("the next page's address is not valid"))?;
    if url.origin() != here.origin() {
        return Err(unexpected("the next page is on another host, so it was not requested"));
    }
    if &url == here {
        return Err(unexpected("the next page is this page"));
    }
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn the_next_page() {
        let here: Url = "https://api.github.com/orgs/a/x?per_page=100".parse().unwrap();
        let go = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            let status = StatusCode::OK;
            next(&Response::new("t", status, headers, "".into()), &here)
        };
        let link =
            r#"<https://api.github.com/x?page=1>; rel="prev", <https://api.github.com/x?page=3>; rel="next""#;
        assert_eq!(go(link).unwrap().unwrap().as_str(), "https://api.github.com/x?page=3");
        assert_eq!(go(r#"<https://api.github.com/x>; rel="last""#).unwrap(), None);
        assert_eq!(go("nonsense, <a; rel=next").unwrap(), None);
        assert!(go("<https://evil.example/x>; rel=\"next\"").is_err());
        assert!(go("<http://api.github.com/x>; rel=next").is_err());
        assert!(go("<https://api.github.com/orgs/a/x?per_page=100>; rel=next").is_err());
        assert!(go("<?page=2>; title=\"x\"; rel=\"last next\"").unwrap().is_some());
    }
}
