//! `--tags`, as more than one command has it.

use fireactions_fleet::tags;

use super::{Flake, words};

/// Which profiles a host gets.
#[derive(Debug, clap::Args)]
pub(super) struct WantedTags {
    /// Profiles that the host gets, by commas; `fireactions host tags` lists them
    #[arg(short, long, value_name = "TAG,…", value_delimiter = ',')]
    tags: Option<Vec<String>>,
}

impl WantedTags {
    /// The tags, each a profile that there is; `None`: not given.
    pub(super) fn check(&self, flake: &Flake) -> anyhow::Result<Option<Vec<String>>> {
        let Some(wanted) = &self.tags else { return Ok(None) };
        if wanted.iter().all(|tag| tag.trim().is_empty()) {
            return Ok(Some(Vec::new()));
        }
        let known = tags::known(&flake.profiles()).map_err(|error| words::tag(&error))?;
        tags::check(wanted, &known).map(Some).map_err(|error| words::tag(&error))
    }
}
