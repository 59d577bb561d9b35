//! What must fit together for pools whose runners belong to a GitHub.

use std::collections::HashMap;

use fireactions_model::{ForgeName, GithubScope, PoolName};

use crate::{GithubConfig, PoolConfig, RunnerConfig};

use super::runner::{is_plain, is_text};
use super::{At, Check};

/// GitHub's limit for the labels of a runner is 100; `self-hosted`, `Linux` and the architecture are three of them.
const LABELS: usize = 97;
/// Limit for a scale set's name, in characters.
const SET_NAME: usize = 64;

/// The pools that have a scale set, by forge, scope and the set's name in lower case.
pub(super) type Sets = HashMap<(ForgeName, GithubScope, String), PoolName>;

impl Check<'_> {
    /// A pool with one of GitHub's keys for a scope. `section` is where the forge `name` is declared.
    pub(super) fn github_runner(
        &mut self,
        at: &At,
        pool: &PoolConfig,
        name: &ForgeName,
        github: &GithubConfig,
        section: &At,
        sets: &mut Sets,
    ) {
        let scope = match pool.runner.github_scope() {
            Some(Ok(scope)) => scope,
            Some(Err(error)) => {
                let key = pool.runner.scope_keys().next().unwrap_or_default();
                let help = "write the name as in the URL of its page on GitHub";
                return self.error(&at.key(key), &[], error, help);
            }
            None => return,
        };
        self.access(at, pool, &scope, github, section);
        self.group(at, pool, &scope);
        self.signals(at, pool, github, section);
        let Some(set) = pool.runner.scale_set.name(&pool.name) else { return };
        let key = (name.clone(), scope.clone(), set.to_ascii_lowercase());
        if let Some(other) = sets.insert(key, pool.name.clone())
            && other != pool.name
        {
            self.error(
                &at.key("scale_set"),
                &[],
                format!("pools '{other}' and '{}' both have the scale set '{set}' of {scope}", pool.name),
                "give each pool its own scale set: scale_set: NAME",
            );
        }
    }

    fn access(
        &mut self,
        at: &At,
        pool: &PoolConfig,
        scope: &GithubScope,
        github: &GithubConfig,
        section: &At,
    ) {
        let token = section.key("token_file");
        if matches!(scope, GithubScope::Enterprise(_)) && github.token_file.is_none() {
            self.error(
                &at.key("enterprise"),
                &[&token],
                format!(
                    "the runners of pool '{}' belong to an enterprise, where Apps cannot register runners",
                    pool.name
                ),
                format!(
                    "instead of the App, set {token} to a personal access token with the scope manage_runners:enterprise; or \
                     name an organization"
                ),
            );
        }
    }

    fn group(&mut self, at: &At, pool: &PoolConfig, scope: &GithubScope) {
        let name = &pool.name;
        let (group, id) = (&pool.runner.group, pool.runner.group_id);
        let key = if group.is_some() { "group" } else { "group_id" };
        if (group.is_some() || id.is_some()) && matches!(scope, GithubScope::Repository { .. }) {
            self.error(
                &at.key(key),
                &[&at.key("repository")],
                format!("pool '{name}' has a runner group, but repositories have no groups"),
                "remove it: only organizations and enterprises have groups",
            );
        }
        if group.as_deref().is_some_and(|group| !is_text(group)) {
            self.error(
                &at.key(key),
                &[],
                format!("runner.group of pool '{name}' is not the name of a group"),
                "write it as GitHub shows it, or remove it to use the default group",
            );
        }
    }

    /// How GitHub tells of the pool's jobs, and what they ask for.
    fn signals(&mut self, at: &At, pool: &PoolConfig, github: &GithubConfig, section: &At) {
        let RunnerConfig { labels, scale_set, .. } = &pool.runner;
        let name = &pool.name;
        if labels.len() > LABELS {
            self.error(
                &at.key("labels"),
                &[],
                format!(
                    "pool '{name}' has {} labels, but a GitHub runner has at most {LABELS} labels of its own",
                    labels.len()
                ),
                "remove some, or split it into two pools",
            );
        }
        match scale_set.name(name) {
            Some(set) if set.len() > SET_NAME || !is_plain(&set) => self.error(
                &at.key("scale_set"),
                &[],
                format!("the scale set of pool '{name}' cannot be named '{set}'"),
                format!(
                    "use 1 to {SET_NAME} letters, digits and . _ -: it is what jobs write after 'runs-on:'"
                ),
            ),
            None if labels.is_empty() && !self.listed(&at.key("labels")) => self.error(
                &at.key("scale_set"),
                &[&at.key("labels")],
                format!("pool '{name}' has neither labels nor a scale set, so no job can ask for it"),
                "add 'labels:' (a runner needs at least one), or remove 'scale_set: false'",
            ),
            None if github.webhook.is_none() => self.warn(
                &at.key("scale_set"),
                format!(
                    "pool '{name}' has no scale set, and there is no webhook: its jobs are looked up only every {}",
                    github.audit_interval
                ),
                format!("remove 'scale_set: false', or add {section}.webhook"),
            ),
            Some(_) | None => {}
        }
    }
}
