//! Which forge a pool's jobs come from, and what its machines are there.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{ForgeName, GiteaRunner, GithubRunner};

/// A pool's place at a hosted forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolForge {
    /// The forge, by its name in the configuration.
    pub name: ForgeName,
    /// What the machines are there.
    #[serde(flatten)]
    pub runner: ForgeRunner,
}

/// A pool's machines as a forge's runners, by the forge's kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ForgeRunner {
    /// GitHub's.
    Github(GithubRunner),
    /// A Gitea's.
    Gitea(GiteaRunner),
    /// A Forgejo's.
    Forgejo(GiteaRunner),
}

/// What a row's pool says of its forge: in rows of before there were several, what it was at the one GitHub.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Named(PoolForge),
    Github(GithubRunner),
}

pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PoolForge>, D::Error> {
    Ok(Option::<Written>::deserialize(deserializer)?.map(|written| match written {
        Written::Named(forge) => forge,
        Written::Github(runner) => {
            PoolForge { name: ForgeName::github(), runner: ForgeRunner::Github(runner) }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GithubScope, PoolName, PoolSpec, Shape};

    fn spec() -> PoolSpec {
        let image = crate::ImageRef::new("debian:12").unwrap();
        let shape = Shape { image, vcpus: 1, memory_mib: 64, disk_mib: 64 };
        PoolSpec::new(PoolName::new("p").unwrap(), shape)
    }

    #[test]
    fn a_pool_is_read_as_it_is_written_and_as_it_was_written_when_github_was_the_only_forge() {
        let runner = GithubRunner::new(GithubScope::organization("acme").unwrap());
        let forge = |name: ForgeName| Some(PoolForge { name, runner: ForgeRunner::Github(runner.clone()) });
        for named in [ForgeName::github(), ForgeName::new("ghes").unwrap()] {
            let pool = PoolSpec { forge: forge(named), ..spec() };
            let json = serde_json::to_value(&pool).unwrap();
            assert_eq!(serde_json::from_value::<PoolSpec>(json).unwrap(), pool);
        }
        let mut json = serde_json::to_value(spec()).unwrap();
        let row = json.as_object_mut().unwrap();
        row.remove("forge");
        assert_eq!(serde_json::from_value::<PoolSpec>(row.clone().into()).unwrap(), spec());
        row.insert("github".into(), serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<PoolSpec>(row.clone().into()).unwrap(), spec());
        row.insert(
            "github".into(),
            serde_json::json!({
                "scope": "acme", "group": "default", "prefix": "fireactions", "scale_set": null, "command": null,
                "work_folder": "_work",
            }),
        );
        let pool = serde_json::from_value::<PoolSpec>(json).unwrap();
        assert_eq!(pool.forge, forge(ForgeName::github()));
    }
}
