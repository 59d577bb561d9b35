//! `fireactions server`.

use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file
    #[arg(
        long,
        short_alias = 'f',
        value_name = "FILE",
        env = "FIREACTIONS_CONFIG",
        hide_env_values = true,
        default_value = "/etc/fireactions/config.yaml"
    )]
    pub(crate) config: PathBuf,
    /// Take over from the running server, which then exits; no job ends and no client is refused
    #[arg(long)]
    pub(crate) replace: bool,
}
