//! What every forge's settings must be, and what they must be beside each other.

use fireactions_model::{ForgeName, is_bare};
use url::Url;

use crate::schema::{Duration, WebhookConfig};
use crate::tree::Value;
use crate::{Config, ForgeRef};

use super::{At, Check};

/// An audit asks for each scope or repository; more often, it would use up GitHub's limit on requests.
const SHORTEST_AUDIT: Duration = Duration::secs(30);
/// A runner without a machine takes jobs from those that have one for as long.
const LONGEST_AUDIT: Duration = Duration::secs(3600);
/// Longest path of a webhook, in bytes.
const WEBHOOK_PATH: usize = 200;

/// Where a forge is declared.
pub(super) fn section(config: &Config, name: &ForgeName) -> At {
    config.forge_key(name).split('.').fold(At::root(), |at, key| at.key(key.to_owned()))
}

impl Check<'_> {
    pub(super) fn forges(&mut self, config: &Config) {
        self.names(config);
        for (name, forge) in config.forges() {
            let at = section(config, &name);
            match forge {
                ForgeRef::Github(github) => self.github(&at, github),
                ForgeRef::Gitea(gitea) => self.gitea(&at, gitea),
                ForgeRef::Forgejo(forgejo) => self.forgejo(&at, forgejo),
            }
            self.proxy(&at, forge.proxy());
            if let Some(webhook) = forge.webhook() {
                self.webhook(&at.key("webhook"), &name, forge, webhook);
            }
            let audit = forge.audit_interval();
            if audit < SHORTEST_AUDIT || audit > LONGEST_AUDIT {
                let key = at.key("audit_interval");
                let message = format!("{key} cannot be {audit}");
                self.error(&key, &[], message, "use a time from 30s to 1h; 5m is usual");
            }
            self.used(config, &at, &name, forge);
        }
        self.webhooks(config);
    }

    fn names(&mut self, config: &Config) {
        let forges = At::root().key("forges");
        for name in config.forges.keys() {
            let at = forges.key(name.to_string());
            if *name == ForgeName::local() {
                self.error(
                    &at,
                    &[],
                    "no forge can be named 'local': that is the built-in queue",
                    "give it another name; pools without runner.forge serve the built-in queue",
                );
            } else if config.is_section(name) {
                self.error(
                    &at,
                    &[&At::root().key(name.to_string())],
                    format!("the forge '{name}' is declared twice: by the section '{name}:' and here"),
                    "remove one of the two, or give this one another name",
                );
            }
        }
    }

    /// Whether each forge that the file declares could be read.
    pub(super) fn knows_all_forges(&self) -> bool {
        let Value::Map(entries) = &self.root.value else { return false };
        let is_read = |id| !self.pruned.contains(&id);
        entries.iter().all(|entry| match (entry.key.as_str(), &entry.value.value) {
            ("forges", Value::Map(forges)) if is_read(entry.value.id) => {
                forges.iter().all(|forge| is_read(forge.value.id))
            }
            ("forges" | "github" | "gitea" | "forgejo", _) => is_read(entry.value.id),
            _ => true,
        })
    }

    fn used(&mut self, config: &Config, at: &At, name: &ForgeName, forge: ForgeRef<'_>) {
        let is_here = |pool: &crate::PoolConfig| matches!(config.forge_of(&pool.runner), Ok(Some((of, _))) if of == *name);
        if config.pools.iter().any(is_here) {
            return;
        }
        let scope = match forge {
            ForgeRef::Github(_) => "organization, repository or enterprise",
            ForgeRef::Gitea(_) | ForgeRef::Forgejo(_) => "organization, repository or scope",
        };
        let which = if config.forges().len() > 1 { format!("'forge: {name}' and ") } else { String::new() };
        self.warn(
            at,
            format!("no pool belongs to the forge '{name}', so this section has no effect"),
            format!("add {which}{scope} below 'runner:' of a pool"),
        );
    }

    fn proxy(&mut self, at: &At, proxy: Option<&Url>) {
        let Some(url) = proxy else { return };
        let at = at.key("proxy");
        if !url.username().is_empty() || url.password().is_some() {
            self.error(
                &at,
                &[],
                format!("{at} contains a user, and passwords do not belong in this file"),
                format!("remove {at}, and set HTTPS_PROXY in an EnvironmentFile= of the unit"),
            );
        } else if !is_bare(url) {
            self.error(
                &at,
                &[],
                format!("{at} is more than a host and a port"),
                "write http://HOST:PORT alone",
            );
        }
    }

    fn webhook(&mut self, at: &At, name: &ForgeName, forge: ForgeRef<'_>, webhook: &WebhookConfig) {
        let (file, files) = (at.key("secret_file"), at.key("secret_files"));
        if webhook.secret_files().is_empty() && !self.listed(&files) {
            self.error(
                at,
                &[&file, &files],
                format!("{at} has no secret, so anybody could send this server deliveries"),
                format!(
                    "add 'secret_file: credential:{name}-webhook' (or an absolute path), and set the same secret at {}",
                    forge.kind()
                ),
            );
        }
        let path = webhook.path(name);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-~".contains(&b);
        if !path.starts_with('/') || path.len() > WEBHOOK_PATH || !path.bytes().all(plain) {
            self.error(
                &at.key("path"),
                &[],
                format!("{at}.path is not the path of a URL"),
                format!("begin it with '/', and use letters, digits and / . _ - ~, as in /webhook/{name}"),
            );
        }
    }

    /// One listener takes the deliveries of all forges, and tells them apart by their paths.
    fn webhooks(&mut self, config: &Config) {
        let forges = config.forges();
        let mut all: Vec<(&ForgeName, At, &WebhookConfig)> = Vec::new();
        for (name, forge) in &forges {
            let Some(webhook) = forge.webhook() else { continue };
            let at = section(config, name).key("webhook");
            if let Some((_, first, other)) = all.first()
                && other.listen != webhook.listen
            {
                let (listen, first) = (at.key("listen"), first.key("listen"));
                let message = format!(
                    "{listen} is {}, but {first} is {}: one listener receives the deliveries of all forges",
                    webhook.listen.0, other.listen.0
                );
                self.error(&listen, &[&first], message, "use one address; each forge has its own path");
            }
            if let Some((_, other, _)) =
                all.iter().find(|(of, _, other)| other.path(of) == webhook.path(name))
            {
                let path = at.key("path");
                let message = format!("{path} is {}, which is {other}.path already", webhook.path(name));
                let help = format!("give each forge its own path, such as /webhook/{name}");
                self.error(&path, &[&other.key("path")], message, help);
            }
            all.push((name, at, webhook));
        }
    }
}
