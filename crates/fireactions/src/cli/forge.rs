//! `fireactions forge`: is everything at a forge as the configuration needs it, in plain words.

use clap::Subcommand;
use fireactions_config::{Config, ForgeRef};
use fireactions_model::ForgeName;

use super::config_file::ConfigFile;
use super::report::Report;
use super::{Ended, gitea, github};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a forge: whether it can be reached, what the credential may do, and what each pool of it needs
    Check {
        /// Name of the forge: 'github', 'gitea', 'forgejo', or a name below 'forges:'
        name: ForgeName,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Arguments of the commands for one kind of forge.
#[derive(Debug, clap::Args)]
pub(crate) struct KindArgs {
    #[command(subcommand)]
    action: KindAction,
}

#[derive(Debug, Subcommand)]
enum KindAction {
    /// Check version, token scopes and what machines can reach, of each that a pool serves
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Looks at all forges of a kind: `Gitea` or `Forgejo`.
pub(crate) async fn run_kind(args: KindArgs, kind: &str) -> Ended {
    let KindAction::Check { file } = args.action;
    let config = &file.load()?;
    let of_kind: Vec<_> = config.forges().into_iter().filter(|(_, forge)| forge.kind() == kind).collect();
    anyhow::ensure!(!of_kind.is_empty(), "the configuration declares no {kind}");
    let mut report = Report::default();
    for (name, forge) in of_kind {
        gitea::look(&mut report, config, &name, forge).await?;
    }
    report.verdict();
    report.show()
}

pub(crate) async fn run(args: Args) -> Ended {
    let Action::Check { name, file } = args.action;
    check(&file.load()?, &name).await
}

/// Looks at one forge, by its name.
async fn check(config: &Config, name: &ForgeName) -> Ended {
    let forges = config.forges();
    let Some((name, forge)) = forges.iter().find(|(other, _)| other == name) else {
        let known: Vec<&str> = forges.iter().map(|(name, _)| name.as_str()).collect();
        anyhow::ensure!(!known.is_empty(), "the configuration declares no forge");
        anyhow::bail!("the configuration has no forge '{name}'; its forges are {}", known.join(", "));
    };
    let mut report = Report::default();
    match forge {
        ForgeRef::Github(github) => github::look(&mut report, config, name, github).await?,
        ForgeRef::Gitea(_) | ForgeRef::Forgejo(_) => {
            gitea::look(&mut report, config, name, *forge).await?;
        }
    }
    report.verdict();
    report.show()
}
