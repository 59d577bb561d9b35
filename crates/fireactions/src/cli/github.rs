//! `fireactions github`: is everything at GitHub as the configuration needs it, in plain words.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use fireactions_config::{Config, ForgeRef, GithubConfig};
use fireactions_github::manifest::{NewApp, Owner};
use fireactions_github::scaleset::{ScaleSetId, ScaleSets};
use fireactions_github::{Access, Error as GithubError, Github};
use fireactions_model::{
    ForgeName, ForgeRunner, GithubRunner, GithubScope, PoolForge, PoolName, RunnerGroup,
};

use super::config_file::ConfigFile;
use super::report::Report;
use super::{Ended, show};
use crate::server::forges::{client, host_name};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check App, permissions, installation, runner groups and scale sets of every pool that serves a GitHub
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print the URL of GitHub's form for a suitable App, already filled in
    NewApp(Box<NewAppArgs>),
}

/// Properties of the App.
#[derive(Debug, clap::Args)]
struct NewAppArgs {
    /// Where its runners should be: ORGANIZATION or OWNER/REPOSITORY
    #[arg(value_name = "SCOPE")]
    scope: GithubScope,
    /// URL of GitHub's web pages
    #[arg(long, value_name = "URL", default_value = "https://github.com")]
    github_url: url::Url,
    /// Name of the App; must be unique on GitHub
    #[arg(long, default_value = "fireactions")]
    name: String,
    /// URL for webhook deliveries; scale sets need none
    #[arg(long, value_name = "URL")]
    webhook: Option<url::Url>,
    /// The repository belongs to a person, not to an organization
    #[arg(long)]
    personal: bool,
}

pub(crate) async fn run(args: Args) -> Ended {
    match args.action {
        Action::Check { file } => check(&file.load()?).await?.show(),
        Action::NewApp(args) => {
            let NewAppArgs { scope, github_url, name, webhook, personal } = *args;
            let owner = if personal { Owner::User } else { Owner::Organization };
            let app = NewApp::new(&github_url, &scope, owner, &name, webhook.as_ref()).context(
                "runners of an enterprise are managed with a personal access token, not with an App: make one with \
                 manage_runners:enterprise, and set github.token_file",
            )?;
            show::line(&format!("{}\n", app.link()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Looks at each GitHub that the configuration declares.
async fn check(config: &Config) -> anyhow::Result<Report> {
    let forges = config.forges();
    let all: Vec<(&ForgeName, &GithubConfig)> = forges
        .iter()
        .filter_map(|(name, forge)| match forge {
            ForgeRef::Github(github) => Some((name, *github)),
            ForgeRef::Gitea(_) | ForgeRef::Forgejo(_) => None,
        })
        .collect();
    anyhow::ensure!(
        !all.is_empty(),
        "the configuration has no 'github:' section, nor another forge of that kind"
    );
    let used: Vec<_> = all.iter().filter(|(name, _)| !scopes(config, name).is_empty()).collect();
    // One without pools is looked at only to say that.
    let looked = if used.is_empty() { all.iter().collect() } else { used };
    let mut report = Report::default();
    for (name, github) in &looked {
        if looked.len() > 1 {
            report.head(&format!("forge '{name}'"));
        }
        look(&mut report, config, name, github).await?;
    }
    report.verdict();
    Ok(report)
}

/// Looks at one GitHub as its pools need it.
///
/// # Errors
/// When no pool is of it, or its settings cannot be used at all.
pub(super) async fn look(
    report: &mut Report,
    config: &Config,
    name: &ForgeName,
    github: &GithubConfig,
) -> anyhow::Result<()> {
    let scopes = scopes(config, name);
    anyhow::ensure!(
        !scopes.is_empty(),
        "no pool serves '{name}': add organization, repository or enterprise below 'runner:' of a pool"
    );
    let client = client(github, &config.forge_key(name))?;
    for (scope, pools) in &scopes {
        report.head(&scope.to_string());
        match client.describe(scope).await {
            Ok(found) => access(report, scope, &found, github.webhook.is_some()),
            Err(error) => {
                report.problem(&error.to_string(), "fix this first; nothing else can be checked until then");
                continue;
            }
        }
        groups(report, &client, scope, pools).await;
    }
    Ok(())
}

/// Where the pools of a GitHub have their runners, and the pools of each.
fn scopes(config: &Config, name: &ForgeName) -> BTreeMap<GithubScope, Vec<(PoolName, GithubRunner)>> {
    let mut scopes: BTreeMap<GithubScope, Vec<(PoolName, GithubRunner)>> = BTreeMap::new();
    for pool in config.pools() {
        if let Some(PoolForge { name: of, runner: ForgeRunner::Github(runner) }) = pool.forge
            && of == *name
        {
            scopes.entry(runner.scope.clone()).or_default().push((pool.name, runner));
        }
    }
    scopes
}

/// The credential, and what it may do.
fn access(report: &mut Report, scope: &GithubScope, access: &Access, webhook: bool) {
    match &access.app {
        Some(app) => {
            let selection = &app.repository_selection;
            report.well(&format!(
                "App '{}' ({}) is installed, for {selection} repositories",
                app.name, app.url
            ));
            for missing in &access.missing {
                let granted = missing.granted.as_deref().unwrap_or("nothing");
                report.problem(
                    &format!(
                        "the App lacks the permission {}: {} (it has {granted})",
                        missing.name, missing.wanted
                    ),
                    &format!("grant it at {}, and accept the change at {}", app.url, app.installation_url),
                );
            }
            if webhook {
                for event in &access.missing_events {
                    report.problem(
                        &format!("the App is not subscribed to {event}, so its webhook reports no jobs"),
                        &format!("subscribe it at {}, unless the organization has its own webhook", app.url),
                    );
                }
            }
        }
        None => match &access.token_scopes {
            // A fine-grained token has permissions instead, which GitHub does not tell.
            Some(scopes) if !scopes.is_empty() => token(report, scope, scopes),
            _ => report.well("the token is accepted"),
        },
    }
    match &access.runners {
        Ok(count) => report.well(&format!("runners can be listed; there are {count}")),
        Err(error) => report.problem(&error.to_string(), "without this, no runner can be registered"),
    }
    for limit in &access.limits {
        if limit.remaining * 10 < limit.limit {
            report.note(&format!(
                "{} of {} requests ({}) are left",
                limit.remaining, limit.limit, limit.resource
            ));
        }
    }
}

/// A classic token's scopes
/// (<https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps>); each of the wanted ones will do.
fn token(report: &mut Report, scope: &GithubScope, scopes: &[String]) {
    report.well(&format!("the token is accepted; its scopes are {}", scopes.join(", ")));
    let wanted: &[&str] = match scope {
        GithubScope::Organization(_) => &["admin:org"],
        GithubScope::Repository { .. } => &["repo"],
        GithubScope::Enterprise(_) => &["manage_runners:enterprise", "admin:enterprise"],
    };
    if !scopes.iter().any(|has| wanted.contains(&has.as_str())) {
        report.problem(
            &format!("the token lacks the scope {}", wanted[0]),
            "give it the scope in the settings of the account that made it, Developer settings, Tokens (classic)",
        );
    }
}

/// Each pool's runner group and scale set.
async fn groups(
    report: &mut Report,
    client: &Github,
    scope: &GithubScope,
    pools: &[(PoolName, GithubRunner)],
) {
    let groups = match client.runner_groups(scope).await {
        Ok(groups) => groups,
        Err(error) => {
            report.problem(&error.to_string(), "the runner groups cannot be checked");
            return;
        }
    };
    let known: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    for (pool, runner) in pools {
        let found = groups.iter().find(|group| match &runner.group {
            RunnerGroup::Default => group.default,
            RunnerGroup::Id(id) => group.id == *id,
            RunnerGroup::Name(name) => group.name == *name,
        });
        let id = match (found, scope) {
            (Some(group), _) => {
                report.well(&format!("pool '{pool}': runner group '{}'", group.name));
                group.id
            }
            // A repository has the one.
            (None, GithubScope::Repository { .. }) => 1,
            (None, _) => {
                report.problem(
                    &format!(
                        "pool '{pool}': there is no such runner group; the existing ones are {}",
                        known.join(", ")
                    ),
                    "create it at GitHub, or set runner.group or runner.group_id",
                );
                continue;
            }
        };
        let Some(set) = &runner.scale_set else { continue };
        let sets = ScaleSets::new(client, scope.clone());
        match sets.find(id, set).await {
            Ok(Some(found)) => listener(report, &sets, pool, set, found.id).await,
            Ok(None) => {
                report.note(&format!("pool '{pool}': scale set '{set}' will be made when the server starts"));
            }
            Err(error) => report.problem(&error.to_string(), "the scale set cannot be used"),
        }
    }
}

/// Whether another host listens to the pool's scale set. GitHub says it only to who wants to listen.
async fn listener(report: &mut Report, sets: &ScaleSets, pool: &PoolName, set: &str, id: ScaleSetId) {
    let host = host_name();
    let is_there = format!("pool '{pool}': scale set '{set}' is there");
    let failed = match sets.open_session(id, &format!("{host}-check")).await {
        Ok(session) => session.close().await.err(),
        Err(error) => Some(error),
    };
    match failed {
        None => report.well(&is_there),
        Some(GithubError::SessionConflict { message, .. }) if message.contains(&format!("{host}-")) => {
            report.well(&format!("{is_there}, and this host listens to it"));
        }
        Some(GithubError::SessionConflict { message, .. }) => report.problem(
            &format!("{is_there}, and another host listens to it: {message}"),
            "a scale set belongs to one host: set runner.scale_set to another name on one of them; jobs that may run \
             on both say a label that both pools have",
        ),
        Some(error) => report.problem(&error.to_string(), "the scale set cannot be listened to"),
    }
}
