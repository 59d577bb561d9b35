//! What a server needs before it touches anything: all of it can fail, none of it needs the state directory's lock.
//! So a new server does this while the old one still serves, and a restarted one beside the opening of its state.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use fireactions_api::{Auth, Key, Oidc, Role, Token, listen};
use fireactions_config::{Config, SecretFile};
use fireactions_guest_proto::DropIn;
use fireactions_machine::Settings;
use fireactions_model::PoolSpec;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::build::StateDirs;
use super::driver::{self, Chosen};
use super::{oidc, telemetry};
use crate::{credentials, registry_cache};

/// All that was found and made.
pub(super) struct Prepared {
    pub(super) settings: Arc<Settings>,
    /// What guests are given besides what is fixed in the settings.
    pub(super) drop_ins: watch::Sender<Vec<DropIn>>,
    /// What runs the machines.
    pub(super) driver: Chosen,
    /// Who may use the API.
    pub(super) keys: Vec<Key>,
    /// How callers of the API's TCP address are known.
    pub(super) tcp: Option<Auth>,
    /// The provider by which people log in.
    pub(super) oidc: Option<Oidc>,
    /// Who is told of traces.
    pub(super) collector: Option<fireactions_telemetry::Settings>,
}

/// The preparation, under way or done.
pub(super) enum Preparation {
    Running(JoinHandle<anyhow::Result<Prepared>>),
    Done(Arc<Prepared>),
    /// It failed, and its error was reported.
    Failed,
}

impl Preparation {
    /// Begins it in a task of its own.
    pub(super) fn begin(config: Arc<Config>) -> Self {
        Self::Running(tokio::spawn(async move { prepare(&config).await }))
    }

    /// Its result, waited for.
    pub(super) async fn get(&mut self) -> anyhow::Result<Arc<Prepared>> {
        match std::mem::replace(self, Self::Failed) {
            Self::Running(task) => {
                let prepared = Arc::new(task.await.context("the preparation was interrupted")??);
                *self = Self::Done(Arc::clone(&prepared));
                Ok(prepared)
            }
            Self::Done(prepared) => {
                *self = Self::Done(Arc::clone(&prepared));
                Ok(prepared)
            }
            Self::Failed => bail!("the preparation has failed before"),
        }
    }

    /// Ends it, whatever it is doing: a probe of the accelerator is a process.
    pub(super) async fn end(self) {
        if let Self::Running(task) = self {
            task.abort();
            let _ = task.await;
        }
    }
}

async fn prepare(config: &Config) -> anyhow::Result<Prepared> {
    let dirs = StateDirs::of(&config.state_dir);
    dirs.make()?;
    let (drop_ins, why) = registry_cache::drop_ins(config);
    if let Some(why) = why {
        tracing::warn!("{why}");
    }
    let (drop_ins, given) = watch::channel(drop_ins);
    let settings = settings(config, &dirs, given)?;
    let keys = keys(config)?;
    let oidc = oidc::of(config)?;
    let tcp = match &config.bind_address {
        // Whoever comes by it has logged in.
        Some(_) if oidc.is_some() => Some(Auth::Token),
        Some(address) => Some(listen::authority(address.0, &keys)?),
        None => None,
    };
    let collector = telemetry::settings(config)?;
    let driver = driver::choose(config, &settings).await?;
    Ok(Prepared { settings: Arc::new(settings), drop_ins, driver, keys, tcp, oidc, collector })
}

/// Who may use the API by TCP, or by a proxy.
fn keys(config: &Config) -> anyhow::Result<Vec<Key>> {
    let directory = credentials::directory();
    let token = |file: &SecretFile, at: &str| {
        let secret = file.read(directory.as_deref()).with_context(|| at.to_owned())?;
        Token::new(secret.expose()).map_err(|error| anyhow!("{at}: {error}"))
    };
    let mut keys: Vec<Key> = Vec::new();
    if let Some(file) = &config.api_token_file {
        keys.push(Key {
            name: "api_token_file".to_owned(),
            role: Role::Admin,
            token: token(file, "api_token_file")?,
        });
    }
    for (index, config) in config.api_tokens.iter().enumerate() {
        let (name, at) = (config.name.clone(), format!("api_tokens[{index}].file"));
        let token = token(&config.file, &at)?;
        if let Some(other) = keys.iter().find(|key| key.token == token) {
            bail!("{at}: the token of '{name}' is that of '{}' as well: make one for each", other.name);
        }
        keys.push(Key { name, role: oidc::role(config.role), token });
    }
    Ok(keys)
}

/// The guest kernel of pools that name none, its modules, and the agent: all there, or a clear error now rather
/// than at the first machine.
fn settings(
    config: &Config,
    dirs: &StateDirs,
    drop_ins: watch::Receiver<Vec<DropIn>>,
) -> anyhow::Result<Settings> {
    let executable = std::env::current_exe().context("the server's own executable could not be found")?;
    let agent = config.agent_beside(&executable);
    if !agent.is_file() {
        bail!(
            "the guest agent {} does not exist; build it with `make agent`, or set agent_path in the \
             configuration",
            agent.display()
        );
    }
    let kernel = config.kernel.image.as_ref().map(|path| path.to_path_buf());
    let pools: BTreeMap<_, Arc<PoolSpec>> =
        config.pools().into_iter().map(|pool| (pool.name.clone(), pool.into())).collect();
    if kernel.is_none()
        && let Some(pool) = pools.values().find(|pool| pool.kernel.image.is_none())
    {
        bail!(
            "there is no guest kernel for pool '{}': set kernel.image, or firecracker.kernel_image_path in the pool \
             (`scripts/fetch-kernel DIR` fetches Debian's cloud kernel)",
            pool.name
        );
    }
    Ok(Settings {
        run_dir: dirs.run.clone(),
        boot_dir: dirs.boot.clone(),
        scratch_dir: dirs.scratch.clone(),
        kernel,
        modules: config.kernel.modules.as_ref().map(|path| path.to_path_buf()),
        agent,
        uid_base: config.vmm.uid_base,
        dns: config.network.dns.clone(),
        dns_search: config.network.dns_search.clone(),
        dns_options: config.network.dns_options.clone(),
        drop_ins,
        environment: registry_cache::environment(config),
        pools,
        console_max: u64::from(config.vmm.console_max_kib) * 1024,
        artifact_max: 4 << 30,
    })
}
