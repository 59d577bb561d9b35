//! What a server is made of, as the scripts name it.

use std::path::PathBuf;

use anyhow::Context;

/// The built programs and the guest kernel.
#[derive(clap::Args)]
pub struct Programs {
    /// The `fireactions` binary.
    #[arg(long)]
    pub fireactions: PathBuf,
    /// The guest agent.
    #[arg(long)]
    pub agent: PathBuf,
    /// Directory with `vmlinuz` and `lib/modules`.
    #[arg(long)]
    pub kernel: PathBuf,
}

impl Programs {
    /// The module directory of the guest kernel.
    pub fn modules(&self) -> anyhow::Result<PathBuf> {
        let entry = std::fs::read_dir(self.kernel.join("lib/modules"))
            .ok()
            .and_then(|entries| entries.flatten().next())
            .context("the guest kernel has no modules; run `make setup`")?;
        Ok(entry.path())
    }
}
