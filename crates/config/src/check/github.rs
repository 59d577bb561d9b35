//! What must fit together for GitHub.

use std::collections::HashMap;

use fireactions_model::GithubScope;

use crate::schema::Duration;
use crate::{Config, GithubConfig, PoolConfig, RunnerConfig};

use super::{At, Check};

/// GitHub's limit for a runner's name.
const RUNNER_NAME: usize = 64;
/// What follows a prefix: the host's key, the machine's id, and two hyphens.
const RUNNER_SUFFIX: usize = 6 + 11 + 2;
/// GitHub's limit for a runner's labels.
const LABELS: usize = 100;
/// GitHub's limit for a scale set's name.
const SET_NAME: usize = 64;
/// An audit asks for each repository; more often would use up the limit on requests.
const SHORTEST_AUDIT: Duration = Duration::secs(30);
/// A job that waits a day is failed by GitHub.
const LONGEST_AUDIT: Duration = Duration::secs(3600);

impl Check<'_> {
    pub(super) fn github(&mut self, config: &Config) {
        if let Some(github) = &config.github {
            self.github_access(config, github);
            self.github_webhook(config, github);
        }
        let mut sets: HashMap<(GithubScope, String), usize> = HashMap::new();
        for (index, pool) in config.pools.iter().enumerate() {
            let runner = At::root().key("pools").index(index).key("runner");
            let Some(scope) = self.scope(&runner, pool) else { continue };
            self.github_pool(config, &runner, pool, &scope);
            let Some(set) = pool.runner.scale_set.name(&pool.name) else { continue };
            if let Some(other) = sets.insert((scope.clone(), set.to_ascii_lowercase()), index) {
                let other = &config.pools[other].name;
                self.error(
                    &runner.key("scale_set"),
                    &[],
                    format!("pools '{other}' and '{}' both have the scale set '{set}' of {scope}", pool.name),
                    "give each pool a scale set of its own: scale_set: NAME",
                );
            }
        }
    }

    fn github_access(&mut self, config: &Config, github: &GithubConfig) {
        let at = At::root().key("github");
        let key = at.key("app_private_key_file");
        match (&github.app_id, &github.app_private_key_file) {
            (Some(_), None) => self.error(
                &at,
                &[&key, &at.key("app_private_key")],
                "github.app_private_key_file is missing",
                "add 'app_private_key_file: /path/to/key.pem', or credential:NAME",
            ),
            (None, Some(_)) => self.error(
                &key,
                &[&at.key("app_id")],
                "github.app_id is missing: the key is an App's",
                "add 'app_id: N', as the App's page at GitHub shows it",
            ),
            _ => {}
        }
        if github.app_id.is_some() && !github.apps.is_empty() {
            self.error(
                &at.key("apps"),
                &[&at.key("app_id")],
                "github has both app_id and apps",
                "put the App of app_id into apps, and remove app_id and app_private_key_file",
            );
        }
        let has_app =
            github.app_id.is_some() || github.app_private_key_file.is_some() || !github.apps.is_empty();
        if has_app && github.token_file.is_some() {
            self.error(
                &at.key("token_file"),
                &[&at.key("app_id"), &at.key("apps")],
                "github has both an App and a token",
                "keep the App (app_id), which is limited to what it needs; a token only for runners of an enterprise",
            );
        }
        if !has_app && github.token_file.is_none() {
            self.error(
                &at,
                &[&at.key("app_id"), &at.key("app_private_key"), &at.key("apps"), &at.key("token_file")],
                "github has no credential",
                "add app_id and app_private_key_file (docs/github.md shows how to make an App), or token_file",
            );
        }
        let host = github.url.host_str().unwrap_or_default();
        let is_loopback = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        if github.url.scheme() == "http" && !is_loopback {
            self.error(
                &at.key("url"),
                &[],
                "github.url is not https, so everybody on the way could read the credentials",
                "write https://; http is for tests on this host",
            );
        }
        if github.url.path() != "/" || github.url.query().is_some() || !github.url.username().is_empty() {
            self.error(
                &at.key("url"),
                &[],
                "github.url is more than a host",
                "write https://HOST alone; organizations and repositories are set below 'runner:' of pools",
            );
        }
        if github.audit_interval < SHORTEST_AUDIT || github.audit_interval > LONGEST_AUDIT {
            self.error(
                &at.key("audit_interval"),
                &[],
                format!("github.audit_interval cannot be {}", github.audit_interval),
                "use a time from 30s to 1h; 5m is usual",
            );
        }
        if !config.pools.iter().any(|pool| pool.runner.has_scope()) {
            self.warn(
                &at,
                "no pool is GitHub's, so this section does nothing",
                "add organization, repository or enterprise below 'runner:' of a pool",
            );
        }
    }

    fn github_webhook(&mut self, config: &Config, github: &GithubConfig) {
        let Some(webhook) = &github.webhook else { return };
        let at = At::root().key("github").key("webhook");
        if webhook.secret_files().is_empty() {
            self.error(
                &at,
                &[&at.key("secret_file"), &at.key("secret_files")],
                "github.webhook has no secret, so anybody could send it jobs",
                "add 'secret_file: /path', and set the same secret at GitHub",
            );
        }
        let path = &webhook.path;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-~".contains(&b);
        if !path.starts_with('/') || path.len() > 200 || !path.bytes().all(plain) {
            self.error(
                &at.key("path"),
                &[],
                "github.webhook.path is not the path of a URL",
                "begin it with '/', and use letters, digits and / . _ - ~",
            );
        }
        let root = At::root();
        for (name, place, other) in [
            ("bind_address", root.key("bind_address"), config.bind_address),
            (
                "metrics.address",
                root.key("metrics").key("address"),
                config.metrics.enabled.then_some(config.metrics.address),
            ),
        ] {
            if other == Some(webhook.listen) {
                self.error(
                    &at.key("listen"),
                    &[&place],
                    format!("github.webhook.listen is the address of {name}"),
                    "use another port: the webhook may be open to the world, and the other must not be",
                );
            }
        }
    }

    /// Where the pool's runners belong; nothing for a pool of the built-in queue, or when it cannot be told.
    fn scope(&mut self, at: &At, pool: &PoolConfig) -> Option<GithubScope> {
        let runner = &pool.runner;
        let places = [
            ("organization", at.key("organization"), runner.organization.is_some()),
            ("repository", at.key("repository"), runner.repository.is_some()),
            ("enterprise", at.key("enterprise"), runner.enterprise.is_some()),
        ];
        let mut given = places.iter().filter(|(_, _, given)| *given);
        let (first, _, _) = given.next()?;
        if let Some((second, place, _)) = given.next() {
            self.error(
                place,
                &[],
                format!("pool '{}' has both runner.{first} and runner.{second}", pool.name),
                "a pool's runners belong to one of them: keep one, and make a pool for each other",
            );
            return None;
        }
        match runner.scope() {
            Some(Ok(scope)) => Some(scope),
            Some(Err(error)) => {
                let place = places.iter().find(|(_, _, given)| *given)?.1.clone();
                self.error(&place, &[], error, "write the name as in the address of its page at GitHub");
                None
            }
            None => None,
        }
    }

    fn github_pool(&mut self, config: &Config, at: &At, pool: &PoolConfig, scope: &GithubScope) {
        let runner = &pool.runner;
        let name = &pool.name;
        let github = At::root().key("github");
        let Some(settings) = &config.github else {
            self.error(
                at,
                &[&github],
                format!("the runners of pool '{name}' belong to {scope}, but there is no 'github:' section"),
                "add 'github:' with app_id and app_private_key_file (docs/github.md)",
            );
            return;
        };
        if matches!(scope, GithubScope::Enterprise(_)) && settings.token_file.is_none() {
            self.error(
                &at.key("enterprise"),
                &[&github.key("token_file")],
                format!("pool '{name}' is an enterprise's, and Apps cannot make runners of enterprises"),
                "set github.token_file to a personal access token with manage_runners:enterprise",
            );
        }
        let grouped = runner.group.is_some() || runner.group_id.is_some();
        if grouped && matches!(scope, GithubScope::Repository { .. }) {
            let key = if runner.group.is_some() { "group" } else { "group_id" };
            self.error(
                &at.key(key),
                &[],
                format!("pool '{name}' has a runner group, and repositories have none"),
                "remove it; groups are for organizations and enterprises",
            );
        }
        if runner.group.is_some() && runner.group_id.is_some() {
            self.error(
                &at.key("group"),
                &[&at.key("group_id")],
                format!("pool '{name}' has both runner.group and runner.group_id"),
                "keep one of them",
            );
        }
        self.runner_name(at, pool);
        self.signals(settings, at, pool);
    }

    fn runner_name(&mut self, at: &At, pool: &PoolConfig) {
        let prefix = pool.runner.prefix(&pool.name);
        let plain = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if prefix.is_empty() || !plain || prefix.len() > RUNNER_NAME - RUNNER_SUFFIX {
            self.error(
                &at.key("name"),
                &[],
                format!("runners of pool '{}' cannot be named '{prefix}-…'", pool.name),
                format!(
                    "set runner.name to at most {} letters, digits and . _ -; GitHub's names have {RUNNER_NAME} at most",
                    RUNNER_NAME - RUNNER_SUFFIX
                ),
            );
        }
    }

    fn signals(&mut self, settings: &GithubConfig, at: &At, pool: &PoolConfig) {
        let RunnerConfig { labels, scale_set, .. } = &pool.runner;
        let name = &pool.name;
        if labels.len() > LABELS {
            self.error(
                &at.key("labels"),
                &[],
                format!("pool '{name}' has {} labels, and a runner may have {LABELS}", labels.len()),
                "remove some",
            );
        }
        match scale_set.name(name) {
            Some(set) => {
                let plain = set.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
                if set.is_empty() || set.len() > SET_NAME || !plain {
                    self.error(
                        &at.key("scale_set"),
                        &[],
                        format!("pool '{name}' cannot have a scale set named '{set}'"),
                        "use at most 64 letters, digits and . _ -: it is what jobs write after 'runs-on:'",
                    );
                }
            }
            None if labels.is_empty() => self.error(
                &at.key("labels"),
                &[at],
                format!("pool '{name}' has neither labels nor a scale set, so no job could ask for it"),
                "add 'labels:', or remove 'scale_set: false'",
            ),
            None if settings.webhook.is_none() => self.warn(
                &at.key("scale_set"),
                format!(
                    "pool '{name}' has no scale set and GitHub no webhook here, so its jobs are found every {} only",
                    settings.audit_interval
                ),
                "remove 'scale_set: false', or add github.webhook",
            ),
            None => {}
        }
    }
}
