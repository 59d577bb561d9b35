//! `fireactions server`.

use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "FIREACTIONS_CONFIG",
        default_value = "/etc/fireactions/config.yaml"
    )]
    pub(crate) config: PathBuf,
}
