//! Where a server is and who asks.

use std::fmt;

use fireactions_http::{Connection, SecretSource};
use fireactions_model::is_private;
use url::Url;

use crate::{Error, Kind};

/// Settings of one server.
#[derive(Clone)]
pub struct Settings {
    /// Which forge it is.
    pub kind: Kind,
    /// Where people see it. It may be below a path, as behind a proxy: `https://host/git/`.
    pub url: Url,
    /// The API token. Without it runners can be registered by `registration_token`, and nothing else.
    pub token: Option<SecretSource>,
    /// A registration token by hand, as the page of runners shows it; it is used instead of one that the API gives.
    pub registration_token: Option<SecretSource>,
    /// Certificates of further authorities, PEM, for a server behind one of its own.
    pub ca_pem: Option<Vec<u8>>,
    /// The proxy; otherwise the usual environment variables name it. It may have a user and a password.
    pub proxy: Option<Url>,
    /// Whether tokens may go there without TLS, for everybody on the way to read. Loopback always may.
    pub insecure_http: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's address may have a password in it, and so may a server's before it was checked.
        f.debug_struct("Settings")
            .field("kind", &self.kind)
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("token", &self.token.is_some())
            .field("registration_token", &self.registration_token.is_some())
            .field("proxy", &self.proxy.as_ref().and_then(Url::host_str))
            .field("insecure_http", &self.insecure_http)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Where the server is, with a slash at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`]: there is more in the URL than a server's address, it is not on HTTPS, or there is no token.
    /// Nothing of the URL is in the words: it may have a password in it.
    pub(crate) fn base(&self) -> Result<Url, Error> {
        let wrong = |why: &str| Err(Error::Settings { forge: self.kind, why: why.to_owned() });
        let url = &self.url;
        let more = url.query().is_some() || url.fragment().is_some();
        if more || !url.username().is_empty() || url.password().is_some() {
            return wrong(
                "its URL has more parts than the address of the web interface; write https://HOST or https://HOST/PATH, and keep the token in a file",
            );
        }
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return wrong("its URL is not a server's; write https://HOST or https://HOST/PATH");
        }
        if url.path().trim_end_matches('/').ends_with("/api/v1") {
            return wrong("its URL is the API's; write the URL of the web interface, without 'api/v1'");
        }
        if !is_private(url) && !self.insecure_http {
            return wrong(
                "its URL does not use https, so anybody on the network path could read the token; write https://, or allow http explicitly (insecure_http)",
            );
        }
        if self.token.is_none() && self.registration_token.is_none() {
            return wrong("there is neither an API token nor a registration token");
        }
        let mut base = url.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", url.path()));
        }
        Ok(base)
    }

    /// How it is reached.
    pub(crate) fn connection(&self) -> Connection<'_> {
        Connection {
            ca_pem: self.ca_pem.as_deref(),
            proxy: self.proxy.as_ref(),
            insecure_http: self.insecure_http,
            ..Connection::new(&self.url)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fireactions_model::Secret;

    use super::*;

    fn settings(url: &str) -> Settings {
        Settings {
            kind: Kind::Gitea,
            url: url.parse().unwrap(),
            token: Some(Arc::new(|| Ok(Secret::new("t0p")))),
            registration_token: None,
            ca_pem: None,
            proxy: None,
            insecure_http: false,
        }
    }

    #[test]
    fn where_it_may_be() {
        for (url, base) in [
            ("https://git.example.org", "https://git.example.org/"),
            ("https://example.org/git", "https://example.org/git/"),
            ("https://example.org:8443/a/git/", "https://example.org:8443/a/git/"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/"),
            ("http://localhost:3000/git", "http://localhost:3000/git/"),
        ] {
            assert_eq!(settings(url).base().unwrap().as_str(), base);
        }
        for (url, words) in [
            ("http://git.example.org", "not use https"),
            ("https://u:hunter2@git.example.org", "its URL has more parts"),
            ("https://git.example.org/?a=hunter2", "its URL has more parts"),
            ("https://git.example.org/api/v1/", "the API's"),
            ("ftp://git.example.org", "not a server's"),
        ] {
            let error = settings(url).base().unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("hunter2"), "{url}: {error}");
        }
        let mut open = settings("http://git.example.org");
        open.insecure_http = true;
        assert!(open.base().is_ok());
        open.token = None;
        assert!(open.base().unwrap_err().to_string().contains("neither"));
    }

    #[test]
    fn debug_hides_secrets() {
        let mut settings = settings("https://u:hunter1@git.example.org");
        settings.proxy = Some("http://user:hunter2@proxy.lan:3128".parse().unwrap());
        let text = format!("{settings:?}");
        assert!(text.contains("proxy.lan") && !text.contains("hunter") && !text.contains("t0p"), "{text}");
    }
}
