//! Who asks at a registry.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A name and a password. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// What is wrong with a file of logins. Nothing of it is said: it holds passwords.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoginError {
    /// It has another form.
    #[error("it is not of the form {{\"HOST\": {{\"username\": \"…\", \"password\": \"…\"}}}} (line {line})")]
    Form {
        /// Where.
        line: usize,
    },
    /// It has no login for this registry.
    #[error("it has no login for '{host}', the host of the registry's URL")]
    Missing {
        /// `host[:port]`.
        host: String,
    },
}

impl Login {
    /// The login for the registry at `url`, in a file of logins by host.
    pub fn find(file: &str, url: &str) -> Result<Self, LoginError> {
        let mut all: BTreeMap<String, Self> =
            serde_json::from_str(file).map_err(|error| LoginError::Form { line: error.line() })?;
        let host = host(url);
        all.remove(host).ok_or_else(|| LoginError::Missing { host: host.to_owned() })
    }
}

/// The `host[:port]` of a URL without a path.
pub(crate) fn host(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_found_by_its_host_and_never_shown() {
        let file = r#"{"r.lan:5000": {"username": "me", "password": "hunter2"}}"#;
        let login = Login::find(file, "https://r.lan:5000").unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("me", "hunter2"));
        assert!(!format!("{login:?}").contains("hunter2"));
        assert_eq!(
            Login::find(file, "https://r.lan").unwrap_err().to_string(),
            "it has no login for 'r.lan', the host of the registry's URL"
        );
        for wrong in ["", "[]", "{\"r.lan\": \"hunter2\"}", "{\"r.lan\": {\"password\": \"hunter2\"}}"] {
            let error = Login::find(wrong, "https://r.lan").unwrap_err().to_string();
            assert!(error.contains("not of the form") && !error.contains("hunter2"), "{error}");
        }
    }
}
