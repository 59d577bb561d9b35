//! How a hosted forge is treated, whatever its pools.

use std::time::Duration;

use fireactions_model::{JobCaches, Secret};

/// Gives the webhook's secrets as they are now, each of them or why it cannot be read: they are rotated while the server
/// runs. It may block.
pub type WebhookSecrets = std::sync::Arc<dyn Fn() -> Vec<Result<Secret, String>> + Send + Sync>;

/// Settings.
#[derive(Clone)]
pub struct HostedSettings {
    /// What this server calls itself at the forge, where people see it: the host's name.
    pub owner: String,
    /// How often the forge is asked for what no signal told.
    pub audit_interval: Duration,
    /// Authorities (PEM) that the forge's certificate may be of, beside the usual ones; its runners trust them, too.
    pub authorities: Option<Vec<u8>>,
    /// The webhook's secrets; none without a webhook.
    pub webhook: Option<WebhookSecrets>,
    /// Other hosts have the forge's jobs, too: one of them listens, and tells the others for what they are to have runners.
    pub shared: bool,
    /// The host's cache of jobs, if it has one.
    pub caches: Option<std::sync::Arc<dyn JobCaches>>,
    /// A runner that no job is there for is let go after this. Less than the minutes after which GitHub forgets an unused
    /// runner by itself.
    pub surplus_after: Duration,
    /// Between two tries to get what another server has at the forge: a scale set's session.
    pub conflict_pause: Duration,
    /// A second: pauses after errors, and how often it is looked at what time alone changes, are counted in it. Less where
    /// the forge is near.
    pub pace: Duration,
}

impl HostedSettings {
    /// The usual times, for a server of this name.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            audit_interval: Duration::from_secs(300),
            authorities: None,
            webhook: None,
            shared: false,
            caches: None,
            surplus_after: Duration::from_secs(90),
            conflict_pause: Duration::from_secs(30),
            pace: Duration::from_secs(1),
        }
    }
}
