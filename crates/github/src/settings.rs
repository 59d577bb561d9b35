//! Where GitHub is and who asks.

use std::fmt;

use fireactions_http::{Connection, SecretSource};
use fireactions_model::github_api;
use url::Url;

use crate::Error;

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
    /// How it is reached.
    pub(crate) fn connection(&self) -> Connection<'_> {
        let (ca_pem, proxy) = (self.ca_pem.as_deref(), self.proxy.as_ref());
        Connection { ca_pem, proxy, ..Connection::new(&self.url) }
    }

    /// The REST API's base, with a slash at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`]: the URL is none that GitHub can have, or is not on HTTPS (loopback may be).
    pub fn api(&self) -> Result<Url, Error> {
        github_api(&self.url).map_err(|error| Error::Settings(format!("its URL: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fireactions_model::Secret;

    use super::*;

    fn settings(url: &str) -> Settings {
        let credentials = Credentials::Token(Arc::new(|| Ok(Secret::new("t0p"))));
        Settings { url: url.parse().unwrap(), credentials, ca_pem: None, proxy: None }
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
