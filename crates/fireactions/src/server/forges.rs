//! From the configuration to the hosted forges.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use fireactions_config::{Config, ForgeRef, GiteaConfig, GithubConfig, SecretFile};
use fireactions_forge::local::LocalForge;
use fireactions_forge::{HostedForge, HostedSettings, WebhookSecrets, github};
use fireactions_github::{App, Credentials, Github, SecretSource, Settings};
use fireactions_model::{Event, ForgeName, PoolSpec};
use tokio::sync::broadcast;

/// The hosted forges that a pool is of. None is asked for anything yet: a server starts without them.
pub(super) async fn hosted(
    config: &Config,
    records: &LocalForge,
    events: &broadcast::Sender<Event>,
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
        let forge = match forge {
            ForgeRef::Github(github) => {
                let settings = HostedSettings {
                    audit_interval: github.audit_interval.0,
                    webhook: github.webhook.as_ref().map(|webhook| secrets(webhook.secret_files())),
                    ..HostedSettings::new(host_name())
                };
                github::forge(name, records, events, client(github, &key)?, settings, &pools)
                    .await
                    .context("runners of an earlier server could not be looked up")?
            }
            ForgeRef::Gitea(settings) | ForgeRef::Forgejo(settings) => {
                gitea(name, settings, &key, records, events, &pools).await?
            }
        };
        forges.push(forge);
    }
    Ok(forges)
}

/// Whether the pool's machines are runners of the forge.
fn is_of(pool: &PoolSpec, forge: &ForgeName) -> bool {
    pool.forge.as_ref().is_some_and(|of| of.name == *forge)
}

/// A Gitea or a Forgejo that pools are of.
#[expect(clippy::unused_async, reason = "its runners of an earlier server are looked up in the store")]
async fn gitea(
    name: ForgeName,
    _settings: &GiteaConfig,
    key: &str,
    _records: LocalForge,
    _events: broadcast::Sender<Event>,
    _pools: &[PoolSpec],
) -> anyhow::Result<HostedForge> {
    anyhow::bail!("{key}: runners of '{name}' cannot be made by this version")
}

/// A client of a configured GitHub; `key` is where it is declared. Its secrets are read when they are needed, and again when
/// they do not work.
pub(crate) fn client(config: &GithubConfig, key: &str) -> anyhow::Result<Github> {
    let ca_pem = match &config.ca_file {
        Some(path) => Some(
            std::fs::read(&**path)
                .with_context(|| format!("{key}.ca_file {} cannot be read", path.display()))?,
        ),
        None => None,
    };
    let credentials = if let Some(file) = &config.token_file {
        Credentials::Token(secret(file.clone()))
    } else {
        let app = |(id, key): (String, SecretFile)| App { id, key: secret(key) };
        Credentials::Apps(config.all_apps().into_iter().map(app).collect())
    };
    let settings = Settings { url: config.url.clone(), credentials, ca_pem, proxy: config.proxy.clone() };
    Github::new(settings).map_err(|error| anyhow!("{key}: {error}"))
}

fn secret(file: SecretFile) -> SecretSource {
    Arc::new(move || file.read(credentials_directory().as_deref()).map_err(|error| error.to_string()))
}

fn secrets(files: Vec<SecretFile>) -> WebhookSecrets {
    Arc::new(move || {
        let directory = credentials_directory();
        let read = |file: &SecretFile| file.read(directory.as_deref()).map_err(|error| error.to_string());
        files.iter().map(read).collect()
    })
}

fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// What people know this host by.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(63).collect();
    if plain.is_empty() { "fireactions".to_owned() } else { plain }
}
