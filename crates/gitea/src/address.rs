//! Addresses below a server's base.

use url::Url;

use crate::Scope;

/// The segments under which a scope's things are.
pub(crate) fn path(scope: &Scope) -> Vec<&str> {
    match scope {
        Scope::Instance => vec!["admin"],
        Scope::User => vec!["user"],
        Scope::Organization(name) => vec!["orgs", name],
        Scope::Repository { owner, name } => vec!["repos", owner, name],
    }
}

/// An address of the REST API.
pub(crate) fn rest(base: &Url, segments: &[&str]) -> Url {
    below(base, &["api", "v1"], segments)
}

/// The address of a procedure of the runner protocol.
pub(crate) fn procedure(base: &Url, name: &str) -> Url {
    below(base, &["api", "actions"], &["runner.v1.RunnerService", name])
}

fn below(base: &Url, first: &[&str], segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(first).extend(segments);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let base: Url = "https://host/git/".parse().unwrap();
        let scope: Scope = "repos/Acme/wid.gets".parse().unwrap();
        let mut at = path(&scope);
        at.extend(["actions", "runners"]);
        assert_eq!(rest(&base, &at).as_str(), "https://host/git/api/v1/repos/Acme/wid.gets/actions/runners");
        assert_eq!(
            procedure(&base, "Register").as_str(),
            "https://host/git/api/actions/runner.v1.RunnerService/Register"
        );
        let root: Url = "http://127.0.0.1:3000/".parse().unwrap();
        assert_eq!(rest(&root, &["version"]).as_str(), "http://127.0.0.1:3000/api/v1/version");
        assert_eq!(rest(&root, &["orgs", "a/../b"]).as_str(), "http://127.0.0.1:3000/api/v1/orgs/a%2F..%2Fb");
    }
}
