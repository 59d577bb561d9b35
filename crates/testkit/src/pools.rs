//! Pools of hosted forges, as small as can be.

// Only tests link this crate, and there a name that is none is a failed test.
#![allow(clippy::unwrap_used)]

use fireactions_model::{
    ForgeName, ForgeRunner, GithubRunner, GithubScope, ImageRef, Label, PoolForge, PoolName, PoolSpec, Shape,
};

/// A pool whose runners are this forge's.
///
/// # Panics
///
/// When the name is none.
pub fn of_forge(name: &str, forge: ForgeName, runner: ForgeRunner) -> PoolSpec {
    let image = ImageRef::new("debian:12").unwrap();
    let shape = Shape { image, vcpus: 1, memory_mib: 256, disk_mib: 512 };
    PoolSpec {
        forge: Some(PoolForge { name: forge, runner }),
        ..PoolSpec::new(PoolName::new(name).unwrap(), shape)
    }
}

/// A pool of the organization `acme` at GitHub, of at most so many machines, with this scale set or none.
///
/// # Panics
///
/// When the name or a label is none.
pub fn of_github(name: &str, labels: &[&str], max: u32, set: Option<&str>) -> PoolSpec {
    let scope = GithubScope::organization("acme").unwrap();
    let runner = GithubRunner { scale_set: set.map(str::to_owned), ..GithubRunner::new(scope) };
    PoolSpec {
        max_runners: max,
        labels: labels.iter().map(|label| Label::new(label).unwrap()).collect(),
        ..of_forge(name, ForgeName::github(), ForgeRunner::Github(runner))
    }
}
