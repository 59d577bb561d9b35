//! Which configuration a command looks at: the server's own, wherever that is.

use std::path::{Path, PathBuf};

use fireactions_config::{Config, Host};

/// The option that names it.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigFile {
    /// Configuration file of the server
    #[arg(
        long,
        value_name = "FILE",
        env = "FIREACTIONS_CONFIG",
        hide_env_values = true,
        default_value = "/etc/fireactions/config.yaml"
    )]
    config: PathBuf,
}

impl ConfigFile {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.config
    }

    /// What it says. Whether this host could run it does not matter to those who look.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        Ok(fireactions_config::load_for(&self.config, &Host::unknown())?.config)
    }
}
