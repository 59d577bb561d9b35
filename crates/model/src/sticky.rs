//! Directories whose content outlives a job.

use serde::{Deserialize, Serialize};

use crate::{ForgeRunner, GiteaScope, GithubScope, PoolSpec};

/// A directory of a pool's guests that a job finds as the last job of the same owner left it that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StickyDir {
    /// Where it is: absolute.
    pub path: String,
    /// Its name among the owner's.
    pub key: String,
    /// How much it holds, in MiB: a disk of its own.
    pub size_mib: u32,
}

impl StickyDir {
    /// Most of one pool: a machine has 8 disks, of which three are its root, its scratch disk and its kernel's modules.
    pub const MOST: usize = 4;
}

impl PoolSpec {
    /// Whose sticky directories the pool's machines have: all its jobs are this owner's. Nothing where a machine is made before it is
    /// known whose job it gets.
    pub fn sticky_owner(&self) -> Option<String> {
        let Some(forge) = &self.forge else {
            // Whoever may give jobs to the pool may give it any job.
            return Some(format!("pool/{}", self.name));
        };
        let repository = match &forge.runner {
            ForgeRunner::Github(runner) => match &runner.scope {
                scope @ GithubScope::Repository { .. } => scope.to_string(),
                _ => return None,
            },
            ForgeRunner::Gitea(runner) | ForgeRunner::Forgejo(runner) => match &runner.scope {
                GiteaScope::Repository { owner, name } => format!("{owner}/{name}"),
                _ => return None,
            },
        };
        // None of these forges has two repositories whose names differ only in case.
        Some(format!("{}/{}", forge.name, repository.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ForgeName, GiteaRunner, GithubRunner, ImageRef, PoolForge, PoolName, Shape};

    #[test]
    fn the_owner_is_the_repository_where_there_is_only_one() {
        let image = ImageRef::new("debian:12").unwrap();
        let shape = Shape { image, vcpus: 1, memory_mib: 64, disk_mib: 64 };
        let pool = PoolSpec::new(PoolName::new("p").unwrap(), shape);
        let owner = |runner| {
            let forge = Some(PoolForge { name: ForgeName::new("work").unwrap(), runner });
            PoolSpec { forge, ..pool.clone() }.sticky_owner()
        };
        let github = |scope| owner(ForgeRunner::Github(GithubRunner::new(scope)));
        let gitea = |scope| owner(ForgeRunner::Gitea(GiteaRunner::new(scope)));
        let app = Some("work/acme/app".to_owned());
        assert_eq!(pool.sticky_owner().as_deref(), Some("pool/p"));
        assert_eq!(github(GithubScope::repository("Acme", "App").unwrap()), app);
        assert_eq!(gitea(GiteaScope::repository("acme", "APP").unwrap()), app);
        assert_eq!(github(GithubScope::organization("acme").unwrap()), None);
        for scope in [GiteaScope::Instance, GiteaScope::User, GiteaScope::organization("acme").unwrap()] {
            assert_eq!(gitea(scope), None);
        }
    }
}
