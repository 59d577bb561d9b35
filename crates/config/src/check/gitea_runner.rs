//! What must fit together for pools whose runners belong to a Gitea or a Forgejo.

use fireactions_model::ForgeName;

use crate::{ForgeRef, GiteaConfig, PoolConfig};

use super::{At, Check};

/// What the forges' own runners can do with a job, as a label says it after its name: in the machine itself, or in a
/// container there.
const GITEA: &[&str] = &["host", "docker"];
const FORGEJO: &[&str] = &["host", "docker", "lxc"];

impl Check<'_> {
    /// A pool with one key for a scope. `at` is the pool.
    pub(super) fn gitea_runner(
        &mut self,
        at: &At,
        pool: &PoolConfig,
        name: &ForgeName,
        forge: ForgeRef<'_>,
        gitea: &GiteaConfig,
    ) {
        let runner = at.key("runner");
        if let Some(Err(error)) = pool.runner.gitea_scope() {
            let key = pool.runner.scope_keys().next().unwrap_or_default();
            let help = format!("write the name as in the URL of its page on the {}", forge.kind());
            self.error(&runner.key(key), &[], error, help);
        }
        self.gitea_labels(&runner, pool, forge);
        if gitea.api_token_file.is_none() && gitea.runner_token_file.is_some() {
            let count = pool.standing();
            let runners =
                if count == 1 { "1 runner waits".to_owned() } else { format!("{count} runners wait") };
            self.warn(
                &at.key("min_runners"),
                format!(
                    "the queue of '{name}' cannot be read with a registration token: in pool '{}', {runners} for jobs at all times, and results of jobs are not known",
                    pool.name
                ),
                "set api_token_file instead of runner_token_file; then machines are made as jobs arrive",
            );
        }
    }

    fn gitea_labels(&mut self, at: &At, pool: &PoolConfig, forge: ForgeRef<'_>) {
        let labels = at.key("labels");
        if pool.runner.labels.is_empty() && !self.listed(&labels) {
            self.error(
                at,
                &[&labels],
                format!("pool '{}' has no labels, so no job can ask for it", pool.name),
                "add 'labels:' below 'runner:', such as [debian]: jobs write one of them after 'runs-on:'",
            );
        }
        let schemes = if matches!(forge, ForgeRef::Forgejo(_)) { FORGEJO } else { GITEA };
        for (index, label) in pool.runner.labels.iter().enumerate() {
            let (name, scheme) = match label.text().split_once(':') {
                Some((name, rest)) => (name, rest.split(':').next().unwrap_or_default()),
                None => (label.text(), "host"),
            };
            let fault = match (name, scheme) {
                ("", _) => "no job can ask for a label without a name".to_owned(),
                (_, "") => "nothing follows its ':'".to_owned(),
                (_, scheme) if schemes.contains(&scheme) => continue,
                (_, scheme) => format!("{}'s runner does not know the scheme '{scheme}'", forge.kind()),
            };
            self.error(
                &labels.index(index),
                &[],
                format!("runner.labels[{index}] of pool '{}': {fault}", pool.name),
                format!(
                    "write NAME, or NAME:SCHEME with one of {}; an image follows as in NAME:docker://debian:12",
                    schemes.join(", ")
                ),
            );
        }
    }
}
