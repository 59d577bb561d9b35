//! Where GitHub is and who asks.

use std::fmt;
use std::sync::Arc;

use fireactions_model::Secret;
use url::{Host, Url};

use crate::Error;

/// Reads a secret as it is now. It is read again after GitHub did not accept it: keys are rotated while a server runs. An
/// error is a sentence for people without the secret. It may block for a moment.
pub type SecretSource = Arc<dyn Fn() -> Result<Secret, String> + Send + Sync>;

/// Settings of one GitHub.
#[derive(Clone)]
pub struct Settings {
    /// Where people see it: `https://github.com`, `https://NAME.ghe.com`, or a GitHub Enterprise Server.
    pub url: Url,
    /// Who asks.
    pub credentials: Credentials,
    /// Certificates of further authorities, PEM, for a server behind one of its own.
    pub ca_pem: Option<Vec<u8>>,
    /// The proxy; otherwise the usual environment variables name it. It may have a user and a password.
    pub proxy: Option<Url>,
}

/// Who asks.
#[derive(Clone)]
pub enum Credentials {
    /// GitHub Apps; each scope is served by the first of them that is installed there.
    Apps(Vec<App>),
    /// A personal access token. Enterprises need one.
    Token(SecretSource),
}

/// A GitHub App.
#[derive(Clone)]
pub struct App {
    /// Its app id or client id.
    pub id: String,
    /// Its private key, PEM: PKCS#1 (as GitHub gives it) or PKCS#8.
    pub key: SecretSource,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's address may have a password in it.
        let proxy = self.proxy.as_ref().and_then(Url::host_str);
        f.debug_struct("Settings")
            .field("url", &self.url.as_str())
            .field("credentials", &self.credentials)
            .field("proxy", &proxy)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apps(apps) => f.debug_tuple("Apps").field(apps).finish(),
            Self::Token(_) => f.write_str("Token(…)"),
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Settings {
    /// The REST API's base, with a slash at the end. `github.com` and `*.ghe.com` have it at the host `api.…`, a GitHub
    /// Enterprise Server under `/api/v3`.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`]: the URL is none that GitHub can have, or is not on HTTPS (loopback may be).
    pub fn api(&self) -> Result<Url, Error> {
        let wrong = |why: &str| Error::Settings(format!("{} {why}", self.url));
        if !is_private(&self.url) {
            return Err(wrong("is not on https: credentials are not sent in the clear"));
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err(Error::Settings(
                "the URL of GitHub has a user in it; credentials are set apart".into(),
            ));
        }
        if self.url.path() != "/" || self.url.query().is_some() || self.url.fragment().is_some() {
            return Err(wrong("has more than a host; organizations and repositories are set at pools"));
        }
        let mut api = self.url.clone();
        let host = self.url.host_str().unwrap_or_default();
        let in_cloud = host == "github.com" || host.ends_with(".ghe.com");
        if host.starts_with("api.") || host == "www.github.com" {
            return Err(wrong("is not where people see GitHub; leave out 'api.' and 'www.'"));
        }
        if in_cloud {
            let api_host = format!("api.{host}");
            api.set_host(Some(&api_host)).map_err(|e| wrong(&e.to_string()))?;
        } else {
            api.set_path("/api/v3/");
        }
        Ok(api)
    }
}

/// Whether nobody on the way can read what is sent there: it is on TLS, or never leaves the machine.
pub(crate) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" && url.has_host() || url.scheme() == "http" && is_loopback(url)
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        let credentials = Credentials::Token(Arc::new(|| Ok(Secret::new("t0p"))));
        Settings { url: url.parse().unwrap(), credentials, ca_pem: None, proxy: None }
    }

    #[test]
    fn where_the_api_is() {
        for (url, api) in [
            ("https://github.com", "https://api.github.com/"),
            ("https://octo.ghe.com/", "https://api.octo.ghe.com/"),
            ("https://github.example.org", "https://github.example.org/api/v3/"),
            ("https://git.lan:8443", "https://git.lan:8443/api/v3/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v3/"),
            ("http://[::1]:1", "http://[::1]:1/api/v3/"),
        ] {
            assert_eq!(settings(url).api().unwrap().as_str(), api);
        }
        for url in [
            "http://github.com",
            "http://10.0.0.1",
            "http://localhost.evil.org",
            "ftp://github.com",
            "https://github.com/acme",
            "https://api.github.com",
            "https://u:t0p@github.com",
            "https://github.com/?a=b",
        ] {
            let error = settings(url).api().unwrap_err().to_string();
            assert!(!error.contains("t0p"), "{error}");
        }
    }

    #[test]
    fn debug_hides_secrets() {
        let mut settings = settings("https://github.com");
        settings.proxy = Some("http://user:hunter2@proxy.lan:3128".parse().unwrap());
        let text = format!("{settings:?}");
        assert!(text.contains("proxy.lan") && !text.contains("hunter2") && !text.contains("t0p"), "{text}");
        let app = App { id: "Iv1".into(), key: Arc::new(|| Ok(Secret::new("t0p"))) };
        assert_eq!(format!("{:?}", Credentials::Apps(vec![app])), r#"Apps([App { id: "Iv1", .. }])"#);
    }
}
