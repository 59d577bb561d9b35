//! From the configuration to the hosted forges.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use fireactions_config::{AbsolutePath, Config, ForgeRef, GiteaConfig, GithubConfig, SecretFile};
use fireactions_forge::gitea::GiteaSettings;
use fireactions_forge::local::LocalForge;
use fireactions_forge::{HostedForge, HostedSettings, WebhookSecrets, gitea, github};
use fireactions_gitea::{Gitea, Kind, Settings as GiteaClientSettings};
use fireactions_github::{App, Credentials, Github, SecretSource, Settings};
use fireactions_model::{Event, ForgeName, JobCaches, PoolSpec};
use tokio::sync::broadcast;

use crate::credentials;

/// The hosted forges that a pool is of. None is asked for anything yet: a server starts without them.
pub(super) async fn hosted(
    config: &Config,
    records: &LocalForge,
    events: &broadcast::Sender<Event>,
    caches: Option<Arc<dyn JobCaches>>,
) -> anyhow::Result<Vec<HostedForge>> {
    let pools = config.pools();
    let mut forges = Vec::new();
    for (name, forge) in config.forges() {
        let pools: Vec<PoolSpec> = pools.iter().filter(|pool| is_of(pool, &name)).cloned().collect();
        if pools.is_empty() {
            continue;
        }
        let key = config.forge_key(&name);
        let (records, events) = (records.clone(), events.clone());
        let settings = HostedSettings {
            audit_interval: forge.audit_interval().0,
            authorities: ca_pem(forge.ca_file(), &key)?,
            caches: caches.clone(),
            shared: config.cluster.is_some(),
            webhook: forge.webhook().map(|webhook| secrets(webhook.secret_files())),
            ..HostedSettings::new(host_name())
        };
        let made = match forge {
            ForgeRef::Github(github) => {
                github::forge(name, records, events, client(github, &key)?, settings, &pools).await
            }
            ForgeRef::Gitea(config) | ForgeRef::Forgejo(config) => {
                let kind = if matches!(forge, ForgeRef::Gitea(_)) { Kind::Gitea } else { Kind::Forgejo };
                let own = GiteaSettings {
                    poll_interval: config.poll_interval.0,
                    reads_queue: config.api_token_file.is_some(),
                };
                let client = gitea_client(config, kind, &key)?;
                gitea::forge(name, records, events, client, (settings, own), &pools).await
            }
        };
        let forge = made.context("runners of an earlier server could not be read from the store")?;
        forges.push(forge);
    }
    Ok(forges)
}

/// Whether the pool's machines are runners of the forge.
fn is_of(pool: &PoolSpec, forge: &ForgeName) -> bool {
    pool.forge.as_ref().is_some_and(|of| of.name == *forge)
}

/// A client of a configured Gitea or Forgejo; `key` is where it is declared. Its secrets are read when they are needed, and again
/// when they do not work.
pub(crate) fn gitea_client(config: &GiteaConfig, kind: Kind, key: &str) -> anyhow::Result<Gitea> {
    let settings = GiteaClientSettings {
        kind,
        url: config.url.clone(),
        token: config.api_token_file.clone().map(secret),
        registration_token: config.runner_token_file.clone().map(secret),
        ca_pem: ca_pem(config.ca_file.as_ref(), key)?,
        proxy: config.proxy.clone(),
        insecure_http: config.insecure_http,
    };
    Gitea::new(settings).map_err(|error| anyhow!("{key}: {error}"))
}

/// A client of a configured GitHub; `key` is where it is declared. Its secrets are read when they are needed, and again when
/// they do not work.
pub(crate) fn client(config: &GithubConfig, key: &str) -> anyhow::Result<Github> {
    let ca_pem = ca_pem(config.ca_file.as_ref(), key)?;
    let credentials = if let Some(file) = &config.token_file {
        Credentials::Token(secret(file.clone()))
    } else {
        let app = |(id, key): (String, SecretFile)| App { id, key: secret(key) };
        Credentials::Apps(config.all_apps().into_iter().map(app).collect())
    };
    let settings = Settings { url: config.url.clone(), credentials, ca_pem, proxy: config.proxy.clone() };
    Github::new(settings).map_err(|error| anyhow!("{key}: {error}"))
}

/// The certificates of a `ca_file`, below `key`.
pub(super) fn ca_pem(file: Option<&AbsolutePath>, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let read = |path: &AbsolutePath| {
        std::fs::read(&**path).with_context(|| format!("{key}.ca_file {} cannot be read", path.display()))
    };
    file.map(read).transpose()
}

fn secret(file: SecretFile) -> SecretSource {
    Arc::new(move || {
        file.read(credentials::directory_of(&file).as_deref()).map_err(|error| error.to_string())
    })
}

fn secrets(files: Vec<SecretFile>) -> WebhookSecrets {
    Arc::new(move || {
        let read = |file: &SecretFile| {
            file.read(credentials::directory_of(file).as_deref()).map_err(|error| error.to_string())
        };
        files.iter().map(read).collect()
    })
}

/// What people know this host by: how the names of its sessions at a forge begin.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(63).collect();
    if plain.is_empty() { "fireactions".to_owned() } else { plain }
}
