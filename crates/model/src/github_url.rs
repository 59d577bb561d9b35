//! Where GitHub may be: one rule for whoever reads the configuration and whoever asks GitHub.

use url::{Host, Url};

/// Why a URL cannot be GitHub's. Nothing of the URL is in the words: it may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GithubUrlError {
    /// A path, a query, a user.
    #[error(
        "it is more than a host; write https://HOST alone: organizations and repositories are named at pools, and \
         credentials in files"
    )]
    More,
    /// The API's host, or a redirect's.
    #[error("this is not the host of GitHub's web pages; leave out 'api.' or 'www.'")]
    Elsewhere,
    /// Credentials would be sent in the clear.
    #[error(
        "it does not use https, so others on the network could read the credentials; write https://HOST \
         (http is only for tests at 127.0.0.1)"
    )]
    Open,
}

/// The base of the REST API of the GitHub that people see at `url`, with a slash at its end. `github.com` and `*.ghe.com`
/// have it at the host `api.…`, a GitHub Enterprise Server under `/api/v3`.
///
/// # Errors
///
/// [`GithubUrlError`]
pub fn github_api(url: &Url) -> Result<Url, GithubUrlError> {
    if !is_bare(url) {
        return Err(GithubUrlError::More);
    }
    let host = url.host_str().unwrap_or_default();
    if host.starts_with("api.") || host == "www.github.com" {
        return Err(GithubUrlError::Elsewhere);
    }
    if !is_private(url) {
        return Err(GithubUrlError::Open);
    }
    let mut api = url.clone();
    if host == "github.com" || host.ends_with(".ghe.com") {
        let api_host = format!("api.{host}");
        api.set_host(Some(&api_host)).map_err(|_| GithubUrlError::Elsewhere)?;
    } else {
        api.set_path("/api/v3/");
    }
    Ok(api)
}

/// Whether it is a scheme, a host and perhaps a port, and nothing else.
pub fn is_bare(url: &Url) -> bool {
    url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// Whether nobody on the way can read what is sent there: it is on TLS, or never leaves the machine.
pub fn is_private(url: &Url) -> bool {
    url.scheme() == "https" && url.has_host() || url.scheme() == "http" && is_on_this_host(url)
}

/// Whether it is at this host itself.
pub fn is_on_this_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => crate::network_rules::is_loopback(ip.into()),
        Some(Host::Ipv6(ip)) => crate::network_rules::is_loopback(ip.into()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_api_is() {
        let api = |url: &str| github_api(&url.parse().unwrap());
        for (url, wanted) in [
            ("https://github.com", "https://api.github.com/"),
            ("https://octo.ghe.com/", "https://api.octo.ghe.com/"),
            ("https://github.example.org", "https://github.example.org/api/v3/"),
            ("https://git.lan:8443", "https://git.lan:8443/api/v3/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v3/"),
            ("http://[::1]:1", "http://[::1]:1/api/v3/"),
        ] {
            assert_eq!(api(url).unwrap().as_str(), wanted);
        }
        for (url, error) in [
            ("http://github.com", GithubUrlError::Open),
            ("http://10.0.0.1", GithubUrlError::Open),
            ("http://localhost.evil.org", GithubUrlError::Open),
            ("http://127.0.0.1.example.com", GithubUrlError::Open),
            ("ftp://github.com", GithubUrlError::Open),
            ("https://github.com/acme", GithubUrlError::More),
            ("https://u:t0p@github.com", GithubUrlError::More),
            ("https://github.com/?a=b", GithubUrlError::More),
            ("https://api.github.com", GithubUrlError::Elsewhere),
            ("https://www.github.com", GithubUrlError::Elsewhere),
        ] {
            assert_eq!(api(url), Err(error), "{url}");
        }
    }
}
