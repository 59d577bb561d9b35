//! Debian's docker-registry (distribution 2.8) as a pull-through cache of one registry.

use std::fmt::Write as _;

use crate::{Cache, Upstream};

/// The configuration of one registry's process. It has the login in it: it is for the process alone.
pub fn docker_registry(cache: &Cache, upstream: &Upstream) -> String {
    let directory = cache.directory(&upstream.name);
    let mut text = format!(
        "version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {}
  # By itself: what it fetched a week ago. What others remove for room is found missing, for no list of blobs is kept in memory.
  delete:
    enabled: true
http:
  addr: {}
proxy:
  remoteurl: {}
",
        quoted(&directory.to_string_lossy()),
        quoted(&format!("{}:{}", cache.gateway, upstream.port)),
        quoted(&upstream.url),
    );
    if let Some(login) = &upstream.login {
        let (name, password) = (quoted(&login.username), quoted(&login.password));
        let _ = write!(text, "  username: {name}\n  password: {password}\n");
    }
    text
}

/// A text in YAML: a JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
