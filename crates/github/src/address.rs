//! Addresses of the REST API.

use url::Url;

use crate::Scope;

/// The segments under which a scope's things are.
pub(crate) fn path(scope: &Scope) -> Vec<&str> {
    match scope {
        Scope::Organization(name) => vec!["orgs", name],
        Scope::Repository { owner, name } => vec!["repos", owner, name],
        Scope::Enterprise(name) => vec!["enterprises", name],
    }
}

/// An address below the API's base.
pub(crate) fn url(api: &Url, segments: &[&str]) -> Url {
    let mut url = api.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let api: Url = "https://ghes/api/v3/".parse().unwrap();
        let scope: Scope = "acme/wid.gets".parse().unwrap();
        let mut at = path(&scope);
        at.extend(["actions", "runners"]);
        assert_eq!(url(&api, &at).as_str(), "https://ghes/api/v3/repos/acme/wid.gets/actions/runners");
        let cloud: Url = "https://api.github.com/".parse().unwrap();
        assert_eq!(url(&cloud, &["orgs", "a/../b"]).as_str(), "https://api.github.com/orgs/a%2F..%2Fb");
    }
}
