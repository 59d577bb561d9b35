//! What must fit together for pools whose runners belong to GitHub.

use std::collections::HashMap;

use fireactions_model::GithubScope;

use crate::{Config, GithubConfig, PoolConfig, RunnerConfig, ScaleSetSetting};

use super::{At, Check};

/// GitHub's limit for a runner's name, in characters.
const RUNNER_NAME: usize = 64;
/// What follows the prefix in it: the server's key and the machine's id, each after a hyphen.
const RUNNER_SUFFIX: usize = 1 + 6 + 1 + 11;
/// GitHub's limit for the labels of a runner is 100; `self-hosted`, `Linux` and the architecture are three of them.
const LABELS: usize = 97;
/// Limit for a scale set's name, in characters.
const SET_NAME: usize = 64;
/// Longest name of a group or a work folder, in bytes.
const TEXT: usize = 255;
/// Longest command, in bytes; it may be a script.
const COMMAND: usize = 65_536;

impl Check<'_> {
    pub(super) fn runners(&mut self, config: &Config) {
        let mut sets: HashMap<(GithubScope, String), &PoolConfig> = HashMap::new();
        for (index, pool) in config.pools.iter().enumerate() {
            let at = At::root().key("pools").index(index).key("runner");
            if !pool.runner.has_scope() {
                self.without_scope(&at, pool);
            }
            let Some(scope) = self.scope(&at, pool) else { continue };
            self.access(&at, config, pool, &scope);
            self.group(&at, pool, &scope);
            self.runner_name(&at, pool);
            self.program(&at, pool);
            self.signals(&at, config, pool);
            let Some(set) = pool.runner.scale_set.name(&pool.name) else { continue };
            if let Some(other) = sets.insert((scope.clone(), set.to_ascii_lowercase()), pool)
                && other.name != pool.name
            {
                self.error(
                    &at.key("scale_set"),
                    &[],
                    format!(
                        "pools '{}' and '{}' both have the scale set '{set}' of {scope}",
                        other.name, pool.name
                    ),
                    "give each pool a scale set of its own: scale_set: NAME",
                );
            }
        }
    }

    /// Keys that only GitHub's pools have. `group_id` is not told of: it stands in existing files.
    fn without_scope(&mut self, at: &At, pool: &PoolConfig) {
        let RunnerConfig { group, scale_set, command, work_folder, .. } = &pool.runner;
        for (key, given) in [
            ("group", group.is_some()),
            ("scale_set", *scale_set != ScaleSetSetting::default()),
            ("command", command.is_some()),
            ("work_folder", work_folder.is_some()),
        ] {
            if given {
                self.warn(
                    &at.key(key),
                    format!("runner.{key} of pool '{}' is not used: the pool is not GitHub's", pool.name),
                    "add organization, repository or enterprise below 'runner:', or remove it",
                );
            }
        }
    }

    /// Where the pool's runners belong; nothing for a pool of the built-in queue, or when it cannot be told.
    fn scope(&mut self, at: &At, pool: &PoolConfig) -> Option<GithubScope> {
        let runner = &pool.runner;
        let mut given = [
            ("organization", runner.organization.is_some()),
            ("repository", runner.repository.is_some()),
            ("enterprise", runner.enterprise.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key));
        let first = given.next()?;
        if let Some(second) = given.next() {
            self.error(
                &at.key(second),
                &[&at.key(first)],
                format!("pool '{}' has both runner.{first} and runner.{second}", pool.name),
                "keep one of them: a pool's runners belong to one place; make a pool for each other",
            );
            return None;
        }
        match runner.scope()? {
            Ok(scope) => Some(scope),
            Err(error) => {
                self.error(
                    &at.key(first),
                    &[],
                    error,
                    "write the name as it is in the address of its page at GitHub",
                );
                None
            }
        }
    }

    fn access(&mut self, at: &At, config: &Config, pool: &PoolConfig, scope: &GithubScope) {
        let github = At::root().key("github");
        let name = &pool.name;
        match &config.github {
            None => self.error(
                at,
                &[&github],
                format!("the runners of pool '{name}' belong to {scope}, but there is no section 'github:'"),
                "add 'github:' with app_id and app_private_key_file; examples/github.yaml shows it",
            ),
            Some(settings)
                if matches!(scope, GithubScope::Enterprise(_)) && settings.token_file.is_none() =>
            {
                self.error(
                    &at.key("enterprise"),
                    &[&github.key("token_file")],
                    format!("the runners of pool '{name}' belong to an enterprise, where Apps can make none"),
                    "set github.token_file, in the place of the App, to a personal access token with \
                     manage_runners:enterprise; or name an organization",
                );
            }
            Some(_) => {}
        }
    }

    fn group(&mut self, at: &At, pool: &PoolConfig, scope: &GithubScope) {
        let name = &pool.name;
        let (group, id) = (&pool.runner.group, pool.runner.group_id);
        if group.is_some() && id.is_some() {
            self.error(
                &at.key("group"),
                &[&at.key("group_id")],
                format!("pool '{name}' has both runner.group and runner.group_id"),
                "keep one of them",
            );
            return;
        }
        let key = if group.is_some() { "group" } else { "group_id" };
        if (group.is_some() || id.is_some()) && matches!(scope, GithubScope::Repository { .. }) {
            self.error(
                &at.key(key),
                &[&at.key("repository")],
                format!("pool '{name}' has a runner group, and repositories have none"),
                "remove it: groups are an organization's or an enterprise's",
            );
        }
        if group.as_deref().is_some_and(|group| !is_text(group)) {
            self.error(
                &at.key(key),
                &[],
                format!("runner.group of pool '{name}' is not the name of a group"),
                "write it as GitHub shows it, or remove it for the default group",
            );
        }
    }

    fn runner_name(&mut self, at: &At, pool: &PoolConfig) {
        let prefix = pool.runner.prefix(&pool.name);
        let longest = RUNNER_NAME - RUNNER_SUFFIX;
        if prefix.len() > longest || !is_plain(prefix) {
            self.error(
                &at.key("name"),
                &[],
                format!("runners of pool '{}' cannot have names that begin with '{prefix}-'", pool.name),
                format!("set runner.name to 1 to {longest} letters, digits and . _ -: a runner's whole name may have {RUNNER_NAME}"),
            );
        }
    }

    fn program(&mut self, at: &At, pool: &PoolConfig) {
        let name = &pool.name;
        if let Some(command) = &pool.runner.command
            && !is_command(command)
        {
            self.error(
                &at.key("command"),
                &[],
                format!("runner.command of pool '{name}' is not a command"),
                "write the program and its arguments, such as [./run.sh], or remove it: the runner is looked for",
            );
        }
        if let Some(folder) = &pool.runner.work_folder
            && (!is_text(folder) || folder.split('/').any(|part| part == ".."))
        {
            self.error(
                &at.key("work_folder"),
                &[],
                format!("runner.work_folder of pool '{name}' is not a directory's name"),
                "write a name such as _work, without '..'",
            );
        }
    }

    /// How GitHub tells of the pool's jobs, and what they ask for.
    fn signals(&mut self, at: &At, config: &Config, pool: &PoolConfig) {
        let RunnerConfig { labels, scale_set, .. } = &pool.runner;
        let name = &pool.name;
        if labels.len() > LABELS {
            self.error(
                &at.key("labels"),
                &[],
                format!(
                    "pool '{name}' has {} labels, and GitHub's runners have at most {LABELS} of their own",
                    labels.len()
                ),
                "remove some, or make two pools of it",
            );
        }
        let has_webhook = |github: &GithubConfig| github.webhook.is_some();
        match (scale_set.name(name), &config.github) {
            (Some(set), _) => {
                if set.len() > SET_NAME || !is_plain(&set) {
                    self.error(
                        &at.key("scale_set"),
                        &[],
                        format!("the scale set of pool '{name}' cannot be named '{set}'"),
                        format!("use 1 to {SET_NAME} letters, digits and . _ -: it is what jobs write after 'runs-on:'"),
                    );
                }
            }
            (None, _) if labels.is_empty() && !self.listed(&at.key("labels")) => self.error(
                &at.key("scale_set"),
                &[&at.key("labels")],
                format!("pool '{name}' has neither labels nor a scale set, so no job can ask for it"),
                "add 'labels:' (a runner must have one at least), or remove 'scale_set: false'",
            ),
            (None, Some(github)) if !has_webhook(github) => self.warn(
                &at.key("scale_set"),
                format!(
                    "pool '{name}' has no scale set, and there is no webhook: its jobs are found every {} only",
                    github.audit_interval
                ),
                "remove 'scale_set: false', or add github.webhook",
            ),
            (None, _) => {}
        }
    }
}

/// A name of the characters that GitHub's names of runners and scale sets have.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_command(command: &[String]) -> bool {
    command.first().is_some_and(|program| !program.is_empty())
        && command.iter().map(|part| part.len() + 1).sum::<usize>() <= COMMAND
        && !command.iter().any(|part| part.contains('\0'))
}

/// One line that says something.
fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= TEXT && !text.contains(char::is_control)
}
