//! The configuration file, as far as it means something here. What else the real programs know there is passed over.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// The file of `-c`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) runner: Runner,
    pub(crate) host: Host,
    pub(crate) server: Server,
}

/// `runner:`.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Runner {
    /// The registration, relative to the working directory.
    pub(crate) file: String,
    /// In place of the registration's labels, if there are some.
    pub(crate) labels: Vec<String>,
    /// For every step of every job.
    pub(crate) envs: BTreeMap<String, String>,
    /// Between two questions for a task.
    #[serde(deserialize_with = "duration")]
    pub(crate) fetch_interval: Duration,
    /// The deadline of one.
    #[serde(deserialize_with = "duration")]
    pub(crate) fetch_timeout: Duration,
}

impl Default for Runner {
    fn default() -> Self {
        Self {
            file: ".runner".to_owned(),
            labels: Vec::new(),
            envs: BTreeMap::new(),
            fetch_interval: Duration::from_secs(2),
            fetch_timeout: Duration::from_secs(5),
        }
    }
}

/// `host:`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Host {
    /// Where jobs have their directories; `.cache/act` in the home directory without it.
    pub(crate) workdir_parent: String,
}

/// `server:`, of forgejo-runner.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Server {
    pub(crate) connections: BTreeMap<String, Connection>,
}

/// A server to work for, in place of flags.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Connection {
    pub(crate) url: String,
    pub(crate) uuid: String,
    pub(crate) token_url: String,
    pub(crate) labels: Vec<String>,
}

impl Config {
    /// Reads a file; without one everything has its default.
    pub(crate) fn read(path: Option<&str>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = fs::read_to_string(path).map_err(|error| {
            format!(
                "invalid configuration: cannot open config file \"{path}\": \"open {path}: {}\"",
                plain(&error)
            )
        })?;
        // An empty file is no map.
        let read: Option<Self> = serde_saphyr::from_str(&text).map_err(|error| {
            format!("invalid configuration: cannot parse config file \"{path}\": \"{error}\"")
        })?;
        Ok(read.unwrap_or_default())
    }
}

/// A system's error in the words that Go has for the usual ones.
pub(crate) fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => error.to_string(),
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_both_are_read_and_the_rest_is_passed_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let text = "log:\n  level: info\nrunner:\n  file: other\n  envs: {A: b}\n  capacity: 1\n  fetch_interval: 500ms\n  \
                    fetch_timeout: 5s\n  labels: ['a:host']\ncache: {enabled: false}\nserver:\n  connections:\n    x:\n      \
                    url: http://h\n      uuid: u\n      token_url: file:///t\n";
        fs::write(&path, text).unwrap();
        let config = Config::read(Some(&path)).unwrap();
        assert_eq!(
            (config.runner.file.as_str(), config.runner.labels.as_slice()),
            ("other", &["a:host".to_owned()][..])
        );
        assert_eq!(config.runner.fetch_interval, Duration::from_millis(500));
        assert_eq!(config.runner.envs["A"], "b");
        assert_eq!(config.server.connections["x"].url, "http://h");
        fs::write(&path, "").unwrap();
        assert_eq!(Config::read(Some(&path)).unwrap().runner.file, ".runner");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::read(Some("nosuch.yaml")).unwrap_err();
        assert_eq!(
            error,
            "invalid configuration: cannot open config file \"nosuch.yaml\": \"open nosuch.yaml: no such file or directory\""
        );
    }
}
