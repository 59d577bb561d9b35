//! `fireactions cache warm`.

use std::process::ExitCode;

use fireactions_model::ImageRef;

use super::enabled;
use super::warm::{self, Warmed};
use crate::cli::config_file::ConfigFile;
use crate::cli::edge::advise;
use crate::cli::{Ended, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The images; those of `registry_cache.warm` when there are none
    #[arg(value_name = "IMAGE")]
    images: Vec<ImageRef>,
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) async fn run(args: Args) -> Ended {
    let config = args.file.load()?;
    let cache = enabled(&config)?;
    let images = if args.images.is_empty() { config.registry_cache.warm } else { args.images };
    if images.is_empty() {
        return Err(advise(
            "there is no image to pull",
            "name some, or list them in registry_cache.warm of the configuration",
        ));
    }
    let mut failed = 0;
    warm::all(&cache, &images, |image, pulled| {
        let said = match pulled {
            Ok(Warmed { layers, bytes }) => {
                format!("{image}: in the cache ({layers} layers, {})\n", show::bytes(bytes))
            }
            Err(why) => {
                failed += 1;
                format!("{image}: not in the cache: {}\n", show::clean(&why.to_string()))
            }
        };
        // The rest is pulled, whoever reads of it.
        let _ = show::line(&said);
    })
    .await;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
