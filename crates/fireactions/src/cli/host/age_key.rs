//! Asking a host for its age key.

use anyhow::Context as _;
use fireactions_fleet::age;
use fireactions_fleet::ssh::Ssh;

use super::words;

/// The age key that belongs to the host's SSH host key.
pub(super) async fn ask(ssh: &Ssh) -> anyhow::Result<String> {
    let key = ssh.host_key().await.map_err(|error| words::ssh(&error))?;
    age::recipient(&key).with_context(|| format!("the host key of {} makes no age key", ssh.at()))
}
