//! `.runner`: who this runner is, as the host registered it.

use std::fs;

use serde::Deserialize;

use crate::config::plain;

/// The file's content.
#[derive(Debug, Deserialize)]
pub(crate) struct Registration {
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) token: String,
    /// The server's address.
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    /// One job, then the server forgets this runner.
    #[serde(default)]
    pub(crate) ephemeral: bool,
}

/// Why there is none.
pub(crate) enum Missing {
    /// No file of this name.
    NotFound(String),
    /// One that cannot be used.
    Unusable(String),
}

impl Registration {
    /// Reads it, from the working directory.
    pub(crate) fn read(path: &str) -> Result<Self, Missing> {
        let text = fs::read_to_string(path).map_err(|error| {
            let why = format!("open {path}: {}", plain(&error));
            match error.kind() {
                std::io::ErrorKind::NotFound => Missing::NotFound(why),
                _ => Missing::Unusable(why),
            }
        })?;
        serde_json::from_str(&text).map_err(|error| Missing::Unusable(format!("{path}: {error}")))
    }
}
