//! What must fit together for pools whose runners belong to a forge, of whatever kind it is.

use std::collections::HashMap;

use fireactions_model::ForgeName;

use crate::schema::NoForge;
use crate::suggest;
use crate::{Config, ForgeRef, PoolConfig, RunnerConfig, ScaleSetSetting, StartedBySetting};

use super::forges::section;
use super::{At, Check};

/// GitHub's limit for a runner's name, in characters; the others allow for more.
const RUNNER_NAME: usize = 64;
/// What follows the prefix in it: the server's key and the machine's id, each after a hyphen.
const RUNNER_SUFFIX: usize = 1 + 6 + 1 + 11;
/// Longest name of a group or a work folder, in bytes.
const TEXT: usize = 255;
/// Longest command, in bytes; it may be a script.
const COMMAND: usize = 65_536;

impl Check<'_> {
    pub(super) fn runners(&mut self, config: &Config) {
        let mut sets = HashMap::new();
        for (index, pool) in config.pools.iter().enumerate() {
            let pool_at = At::root().key("pools").index(index);
            let at = pool_at.key("runner");
            let Some((name, forge)) = self.forge(&at, config, pool) else { continue };
            self.runner_name(&at, pool);
            self.program(&at, pool);
            if !self.has_one_scope(&at, pool, &name, forge) {
                continue;
            }
            match forge {
                ForgeRef::Github(github) => {
                    self.started_by(&pool_at, config, pool);
                    self.github_runner(&at, pool, &name, github, &section(config, &name), &mut sets);
                }
                ForgeRef::Gitea(gitea) | ForgeRef::Forgejo(gitea) => {
                    self.foreign_keys(
                        &at,
                        pool,
                        &["group", "scale_set", "work_folder", "started_by"],
                        "GitHub's",
                    );
                    self.gitea_runner(&pool_at, pool, &name, forge, gitea);
                }
            }
        }
    }

    /// The forge that the pool is of; nothing for the built-in queue, or when it cannot be told.
    fn forge<'a>(
        &mut self,
        at: &At,
        config: &'a Config,
        pool: &PoolConfig,
    ) -> Option<(ForgeName, ForgeRef<'a>)> {
        let all = self.knows_all_forges();
        let name = &pool.name;
        let error = match config.forge_of(&pool.runner) {
            Ok(None) => {
                self.foreign_keys(
                    at,
                    pool,
                    &["group", "scale_set", "command", "work_folder", "started_by"],
                    "of a forge",
                );
                return None;
            }
            // Which is the only one is not known when others could not be read.
            Ok(Some(found)) => return (all || pool.runner.forge.is_some()).then_some(found),
            Err(error) => error,
        };
        if !all {
            return None;
        }
        match error {
            NoForge::Unknown(forge) if forge == ForgeName::local() => self.error(
                &at.key("forge"),
                &[],
                format!("runner.forge of pool '{name}' cannot be 'local': that is the built-in queue"),
                "remove runner.forge: pools without it, and without organization and the like, serve the built-in queue",
            ),
            NoForge::Unknown(forge) => {
                let forges = config.forges();
                let known: Vec<&str> = forges.iter().map(|(name, _)| name.as_str()).collect();
                let help = match known.as_slice() {
                    [] => "no forge is declared: add 'github:', 'gitea:', 'forgejo:' or 'forges:' at the top level".to_owned(),
                    known => suggest::for_name(forge.as_str(), known, "the forges are"),
                };
                let message = format!("runner.forge of pool '{name}': there is no forge '{forge}'");
                self.error(&at.key("forge"), &[], message, help);
            }
            NoForge::None => self.error(
                at,
                &[],
                format!("the runners of pool '{name}' belong to a forge, but none is declared"),
                "add 'github: {app_id: N, app_private_key_file: /etc/fireactions/github-app.pem}' at the top level, or 'gitea:' or 'forgejo:' as in examples/gitea.yaml",
            ),
            NoForge::Several(names) => {
                let names: Vec<&str> = names.iter().map(ForgeName::as_str).collect();
                self.error(
                    at,
                    &[&at.key("forge")],
                    format!("pool '{name}' does not say which forge its runners belong to"),
                    format!("add 'forge: NAME' below 'runner:'; the forges are {}", names.join(", ")),
                );
            }
        }
        None
    }

    /// Keys that the pool has no use for. `group_id` is not told of: it stands in existing files.
    fn foreign_keys(&mut self, at: &At, pool: &PoolConfig, keys: &[&'static str], whose: &str) {
        let RunnerConfig { group, scale_set, command, work_folder, started_by, .. } = &pool.runner;
        for (key, given) in [
            ("group", group.is_some()),
            ("scale_set", *scale_set != ScaleSetSetting::default()),
            ("command", command.is_some()),
            ("work_folder", work_folder.is_some()),
            ("started_by", *started_by != StartedBySetting::default()),
        ] {
            if given && keys.contains(&key) {
                let help = if pool.runner.is_hosted() {
                    "remove it"
                } else {
                    "add organization, repository, enterprise or scope below 'runner:', or remove this key"
                };
                let message =
                    format!("runner.{key} of pool '{}' is not used: the pool is not {whose}", pool.name);
                self.warn(&at.key(key), message, help);
            }
        }
    }

    /// Whether the pool says in one way where at its forge the runners belong, and its forge has such a place.
    fn has_one_scope(&mut self, at: &At, pool: &PoolConfig, name: &ForgeName, forge: ForgeRef<'_>) -> bool {
        let (pool_name, kind) = (&pool.name, forge.kind());
        if pool.runner.group.is_some() && pool.runner.group_id.is_some() {
            self.error(
                &at.key("group"),
                &[&at.key("group_id")],
                format!("pool '{pool_name}' has both runner.group and runner.group_id"),
                "keep one of them",
            );
        }
        let is_github = matches!(forge, ForgeRef::Github(_));
        let mut given = pool.runner.scope_keys();
        let Some(first) = given.next() else {
            let keys = ["organization", "repository", "enterprise", "scope"].map(|key| at.key(key));
            self.error(
                at,
                &keys.each_ref(),
                format!("pool '{pool_name}' does not say whose runners its machines are at '{name}'"),
                if is_github {
                    "add organization, repository or enterprise below 'runner:'"
                } else {
                    "add organization or repository below 'runner:', or 'scope: instance' or 'scope: user'"
                },
            );
            return false;
        };
        if let Some(second) = given.next() {
            self.error(
                &at.key(second),
                &[&at.key(first)],
                format!("pool '{pool_name}' has both runner.{first} and runner.{second}"),
                "keep one of them: a pool's runners belong to one place; make another pool for each other place",
            );
            return false;
        }
        let (message, help) = match (first, is_github) {
            ("scope", true) => (
                format!(
                    "runner.scope of pool '{pool_name}' is for Gitea and Forgejo, but '{name}' is a GitHub"
                ),
                "name an organization, a repository or an enterprise, or set runner.forge to another forge",
            ),
            ("enterprise", false) => (
                format!(
                    "runner.enterprise of pool '{pool_name}' is for GitHub, but '{name}' is a {kind}, which has no enterprises"
                ),
                "name an organization or a repository, or write 'scope: instance' for the whole instance",
            ),
            _ => return true,
        };
        self.error(&at.key(first), &[], message, help);
        false
    }

    fn runner_name(&mut self, at: &At, pool: &PoolConfig) {
        let prefix = pool.runner.prefix(&pool.name);
        let longest = RUNNER_NAME - RUNNER_SUFFIX;
        if prefix.len() > longest || !is_plain(prefix) {
            self.error(
                &at.key("name"),
                &[],
                format!("names of the runners of pool '{}' cannot begin with '{prefix}-'", pool.name),
                format!("set runner.name to 1 to {longest} letters, digits and . _ -: a runner's whole name has at most {RUNNER_NAME}"),
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
                "write the program and its arguments, such as [./run.sh], or remove it to have the runner found in the image",
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
}

/// A name of the characters that GitHub's names of runners and scale sets have.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_command(command: &[String]) -> bool {
    command.first().is_some_and(|program| !program.is_empty())
        && command.iter().map(|part| part.len() + 1).sum::<usize>() <= COMMAND
        && !command.iter().any(|part| part.contains('\0'))
}

/// One line that says something.
pub(super) fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= TEXT && !text.contains(char::is_control)
}
