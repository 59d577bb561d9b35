//! Debian's docker-registry (distribution 2.8) as a pull-through cache of one registry, or with what that has, alone.

use std::fmt::Write as _;
use std::path::Path;

use crate::{Cache, Upstream};

/// Where a registry's process listens.
#[derive(Debug, Clone, Copy)]
pub enum Listen<'a> {
    /// At the registry's port of the gateway.
    Gateway,
    /// At a socket, for this host alone.
    Socket(&'a Path),
}

/// The configuration of one registry's process. It has the login in it: it is for the process alone.
pub fn docker_registry(cache: &Cache, upstream: &Upstream, listen: Listen<'_>) -> String {
    let mut text = common(
        cache,
        upstream,
        listen,
        "  # By itself: what it fetched a week ago. What others remove for room is found missing, for no list of blobs is kept in memory.
  delete:
    enabled: true
",
    );
    let _ = write!(text, "proxy:\n  remoteurl: {}\n", quoted(&upstream.url));
    if let Some(login) = &upstream.login {
        let (name, password) = (quoted(&login.username), quoted(&login.password));
        let _ = write!(text, "  username: {name}\n  password: {password}\n");
    }
    text
}

/// The configuration of a process that serves what is cached of a registry, and asks that for nothing.
pub fn docker_registry_alone(cache: &Cache, upstream: &Upstream, listen: Listen<'_>) -> String {
    common(cache, upstream, listen, "  maintenance:\n    readonly:\n      enabled: true\n")
}

fn common(cache: &Cache, upstream: &Upstream, listen: Listen<'_>, storage: &str) -> String {
    let directory = quoted(&cache.directory(&upstream.name).to_string_lossy());
    let listen = match listen {
        Listen::Gateway => {
            format!("  addr: {}\n", quoted(&format!("{}:{}", cache.gateway, upstream.port)))
        }
        Listen::Socket(path) => format!("  net: unix\n  addr: {}\n", quoted(&path.to_string_lossy())),
    };
    format!(
        "version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {directory}
{storage}http:
{listen}"
    )
}

/// A text in YAML: a JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
