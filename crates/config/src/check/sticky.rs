//! Sticky directories: whether it is known whose they are, and whether anybody can say what may be kept.

use std::time::Duration;

use fireactions_model::StickyDir;

use super::{At, Check};
use crate::{Config, ForgeRef, InitSetting, PoolConfig};

/// Less is a mistake: a directory must outlive the time between two jobs.
const SHORTEST: Duration = Duration::from_secs(60);

impl Check<'_> {
    pub(super) fn sticky(&mut self, config: &Config) {
        if config.sticky.unused_for.0 < SHORTEST {
            self.error(
                &At::root().key("sticky").key("unused_for"),
                &[],
                format!(
                    "sticky directories that no job used for {} would go before the next job",
                    config.sticky.unused_for
                ),
                "write a minute or more, such as 7d",
            );
        }
    }

    pub(super) fn sticky_dirs(&mut self, config: &Config, at: &At, pool: &PoolConfig) {
        let dirs = &pool.runner.sticky;
        let (name, runner) = (&pool.name, at.key("runner"));
        let sticky = runner.key("sticky");
        if dirs.is_empty() {
            return;
        }
        if dirs.len() > StickyDir::MOST {
            self.error(
                &sticky,
                &[],
                format!(
                    "pool '{name}' has {} directories in runner.sticky, and a machine has disks for {}",
                    dirs.len(),
                    StickyDir::MOST
                ),
                "remove some, or make one of the directories above them sticky instead",
            );
        }
        for (index, dir) in dirs.iter().enumerate() {
            let (one, path, key) = (sticky.index(index), dir.path.as_str(), dir.key.as_str());
            if dirs[..index].iter().any(|other| other.path == dir.path) {
                let what = format!("runner.sticky of pool '{name}' has '{path}' twice");
                self.error(&one.key("path"), &[], what, "remove one of them");
            }
            if dirs[..index].iter().any(|other| other.key == dir.key) {
                let what = format!("runner.sticky of pool '{name}' has the key '{key}' twice");
                self.error(&one.key("key"), &[], what, "give each directory a key of its own");
            }
            if pool.runner.data_dirs.contains(&dir.path) {
                self.error(
                    &one.key("path"),
                    &[&runner.key("data_dirs")],
                    format!("'{path}' of pool '{name}' is in both runner.sticky and runner.data_dirs"),
                    "remove it from data_dirs: a sticky directory lies on a disk of its own",
                );
            }
        }
        if pool.init == InitSetting::Image {
            self.error(
                &sticky,
                &[&at.key("init")],
                format!("pool '{name}' has both runner.sticky and 'init: image'"),
                "the image's init has started its programs before a machine gets its directories: remove 'init: image', and \
                 start what the image's init has started by runner.services",
            );
        }
        self.sticky_owner(config, &runner, pool);
    }

    /// Whose the directories are must be known before a machine has a job, and whether that may write must be told at its end.
    fn sticky_owner(&mut self, config: &Config, runner: &At, pool: &PoolConfig) {
        // What else is wrong with the forge is told elsewhere.
        let Ok(Some((_, forge))) = config.forge_of(&pool.runner) else { return };
        let (sticky, name) = (runner.key("sticky"), &pool.name);
        let Some(key) = pool.runner.scope_keys().next() else { return };
        if key != "repository" {
            self.error(
                &sticky,
                &[&runner.key(key)],
                format!("pool '{name}' has runner.sticky, and its jobs may be those of any repository"),
                "write 'repository: OWNER/NAME' instead, in a pool for each repository: a machine has its directories before it is \
                 known whose job it gets, and no repository may find what another one left",
            );
            return;
        }
        match forge {
            ForgeRef::Github(_) if pool.runner.scale_set.name(name).is_none() => self.error(
                &sticky,
                &[&runner.key("scale_set")],
                format!("pool '{name}' has runner.sticky and no scale set, so nothing would ever be kept"),
                "remove 'scale_set: false': only the queue of a scale set says which runner has which job, and jobs of pull requests \
                 must keep nothing",
            ),
            ForgeRef::Gitea(gitea) | ForgeRef::Forgejo(gitea) if gitea.api_token_file.is_none() => self.error(
                &sticky,
                &[],
                format!("pool '{name}' has runner.sticky, and nobody can ask the {} whose jobs those are", forge.kind()),
                "set api_token_file instead of runner_token_file: jobs of pull requests must keep nothing",
            ),
            ForgeRef::Github(_) | ForgeRef::Gitea(_) | ForgeRef::Forgejo(_) => {}
        }
    }
}
