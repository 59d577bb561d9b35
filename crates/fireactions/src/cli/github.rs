//! `fireactions github`: is everything at GitHub as the configuration needs it, in plain words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use fireactions_config::{Config, Host};
use fireactions_github::manifest::{NewApp, Owner};
use fireactions_github::scaleset::ScaleSets;
use fireactions_github::{Access, Github};
use fireactions_model::{GithubRunner, GithubScope, PoolName, RunnerGroup};

use super::{Ended, show};
use crate::server::github::client;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check App, permissions, installation, runner groups and scale sets of every pool that serves GitHub
    Check {
        /// Configuration file
        #[arg(long, value_name = "FILE", default_value = "/etc/fireactions/config.yaml")]
        config: PathBuf,
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
        Action::Check { config } => {
            let loaded = fireactions_config::load_for(&config, &Host::unknown())?;
            let report = check(&loaded.config).await?;
            show::line(&report.text)?;
            Ok(if report.problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
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

/// What was found.
struct Report {
    text: String,
    problems: u32,
}

impl Report {
    fn well(&mut self, what: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "  ok       {}", show::clean(what));
    }

    fn problem(&mut self, what: &str, todo: &str) {
        self.problems += 1;
        let _ = writeln!(self.text, "  PROBLEM  {}\n           {}", show::clean(what), show::clean(todo));
    }

    fn note(&mut self, what: &str) {
        let _ = writeln!(self.text, "  note     {}", show::clean(what));
    }
}

async fn check(config: &Config) -> anyhow::Result<Report> {
    let github = config.github.as_ref().context("the configuration has no 'github:' section")?;
    let mut scopes: BTreeMap<GithubScope, Vec<(PoolName, GithubRunner)>> = BTreeMap::new();
    for pool in config.pools() {
        if let Some(runner) = pool.github {
            scopes.entry(runner.scope.clone()).or_default().push((pool.name, runner));
        }
    }
    anyhow::ensure!(
        !scopes.is_empty(),
        "no pool serves GitHub: add organization, repository or enterprise below 'runner:' of a pool"
    );
    let client = client(github)?;
    let mut report = Report { text: String::new(), problems: 0 };
    for (scope, pools) in &scopes {
        let _ = writeln!(report.text, "{scope}");
        match client.describe(scope).await {
            Ok(found) => access(&mut report, scope, &found, github.webhook.is_some()),
            Err(error) => {
                report.problem(&error.to_string(), "fix this first; nothing else can be checked until then");
                continue;
            }
        }
        groups(&mut report, &client, scope, pools).await;
    }
    let verdict = match report.problems {
        0 => "everything is in order".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    let _ = writeln!(report.text, "{verdict}");
    Ok(report)
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
        match ScaleSets::new(client, scope.clone()).find(id, set).await {
            Ok(Some(_)) => report.well(&format!("pool '{pool}': scale set '{set}' is there")),
            Ok(None) => {
                report.note(&format!("pool '{pool}': scale set '{set}' will be made when the server starts"));
            }
            Err(error) => report.problem(&error.to_string(), "the scale set cannot be used"),
        }
    }
}
