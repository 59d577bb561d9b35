//! `fireactions cache render`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use fireactions_guest_proto::{DropIn, Meets};
use fireactions_registry_cache::{Cache, Listen, Program, docker_registry, drop_ins, nft, zot};

use super::enabled;
use crate::cli::config_file::ConfigFile;
use crate::cli::edge::advise;
use crate::cli::{Ended, show};

/// Arguments.
///
/// Logins are left out.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which part
    part: Part,
    /// One registry alone, by its name
    #[arg(long, value_name = "NAME")]
    registry: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// Zot's configuration
    Zot,
    /// docker-registry's configuration, one document for each registry
    DockerRegistry,
    /// The files that guests get, as the chosen program serves them
    Guest,
    /// Rules for nftables
    Nft,
}

pub(super) fn run(args: &Args) -> Ended {
    let mut cache = enabled(&args.file.load()?)?;
    if let Some(name) = &args.registry {
        let names: Vec<_> = cache.upstreams.iter().map(|one| one.name.clone()).collect();
        cache.upstreams.retain(|one| one.name == *name);
        if cache.upstreams.is_empty() {
            let known = format!("registries are {}", names.join(", "));
            return Err(advise(format!("the registry '{name}' is not cached"), known));
        }
    }
    show::line(&text(args.part, cache))?;
    Ok(ExitCode::SUCCESS)
}

fn text(part: Part, mut cache: Cache) -> String {
    match part {
        Part::Zot => {
            cache.program = Program::Zot;
            zot(&cache, None)
        }
        Part::DockerRegistry => {
            let one = |upstream| docker_registry(&cache, upstream, Listen::Gateway);
            cache.upstreams.iter().map(one).collect::<Vec<_>>().join("---\n")
        }
        Part::Guest => files(&drop_ins(&cache)),
        Part::Nft => nft(&cache),
    }
}

fn files(list: &[DropIn]) -> String {
    let mut text = String::new();
    for DropIn { path, text: content, meets, readers, .. } in list {
        let meets = match meets {
            Meets::Stays => "an image's own stays",
            Meets::Json => "an image's own gets what it lacks",
        };
        let _ = writeln!(text, "# {path}: for {}; {meets}\n{}\n", readers.join(", "), content.trim_end());
    }
    text
}
