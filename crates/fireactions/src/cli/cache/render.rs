//! `fireactions cache render`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use fireactions_config::ProxyConfig;
use fireactions_guest_proto::{DropIn, Form, Meets};
use fireactions_registry_cache::{
    Cache, Listen, Program, SquidFiles, docker_registry, drop_ins, nft, squid, zot,
};

use super::places::runtime_directory;
use super::{enabled, proxy};
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
    /// Squid's configuration, with this host's addresses of now
    Squid,
    /// The files that guests get, as the chosen program serves them
    Guest,
    /// Rules for nftables
    Nft,
}

pub(super) fn run(args: &Args) -> Ended {
    let config = args.file.load()?;
    let mut cache = enabled(&config)?;
    if let Some(name) = &args.registry {
        let names: Vec<_> = cache.upstreams.iter().map(|one| one.name.clone()).collect();
        cache.upstreams.retain(|one| one.name == *name);
        if cache.upstreams.is_empty() {
            let known = format!("registries are {}", names.join(", "));
            return Err(advise(format!("the registry '{name}' is not cached"), known));
        }
    }
    show::line(&text(args.part, cache, &config.registry_cache.proxy)?)?;
    Ok(ExitCode::SUCCESS)
}

fn text(part: Part, mut cache: Cache, own: &ProxyConfig) -> anyhow::Result<String> {
    Ok(match part {
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
        Part::Squid => {
            let ((certificate, key), made) = (cache.authority(), runtime_directory().join("certificates"));
            let host: Vec<_> = proxy::told(&proxy::addresses()?);
            let files = SquidFiles {
                certificate: &certificate,
                key: &key,
                certgen: &own.certgen_binary,
                made: &made,
                host: &host,
            };
            squid(&cache, files).ok_or_else(|| {
                advise(
                    "there is no proxy",
                    "write 'proxy: {enabled: true}' below registry_cache in the configuration",
                )
            })?
        }
    })
}

fn files(list: &[DropIn]) -> String {
    let mut text = String::new();
    for DropIn { path, text: content, meets, readers, form, variable, .. } in list {
        let meets = match meets {
            Meets::Stays => "an image's own stays",
            Meets::Json => "an image's own gets what it lacks",
            Meets::Appended => "an image's own gets it at its end",
        };
        let form = match form {
            Form::Text => "",
            Form::JavaKeyStore { .. } => "; as a key store of Java's, with the image's own certificates",
        };
        let found = variable.as_ref().map(|(name, value)| format!("; jobs have {name}={value}"));
        let _ = writeln!(
            text,
            "# {path}: for {}; {meets}{form}{}\n{}\n",
            readers.join(", "),
            found.unwrap_or_default(),
            content.trim_end()
        );
    }
    text
}
