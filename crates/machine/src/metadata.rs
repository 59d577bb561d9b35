//! What a guest can read from the VMM's metadata service, as fireactions images and cloud-init look for it:
//!
//! ```text
//! latest/  2009-04-04/
//!   meta-data/            the pool's own metadata
//!     fireactions/        runner_id, hostname, and runner_jit_config once there is one; shutdown_on_exit, unless
//!                         the metadata is for cloud-init
//!   user-data             the pool's, if it has some
//! ```
//!
//! Any process in the guest can read it. Its one secret is the machine's own one-job credential, which is there for that.

use std::time::Duration;

use fireactions_model::{FailureKind, MachineId, PoolSpec, Secret};
use fireactions_vmm::{Metadata, Vm};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::end::End;
use crate::parts::Parts;

/// Firecracker's limit on the whole tree, as JSON text, in bytes.
const LIMIT: usize = 51_200;
/// The VMM answers within milliseconds.
const DEADLINE: Duration = Duration::from_secs(5);

/// A service without content, for a guest that is nobody yet; nothing where the VMM has no such service.
pub(crate) fn nobodys(parts: &Parts, pool: &PoolSpec) -> Option<Metadata> {
    let version = pool.hardware.mmds;
    parts.vmm.capabilities().metadata.then(|| Metadata { version, data: json!({}) })
}

/// A machine's content, before a forge has a credential for it; nothing where the VMM has no such service.
pub(crate) fn of(parts: &Parts, pool: &PoolSpec, machine: &MachineId) -> Result<Option<Metadata>, End> {
    full(parts, pool, machine, None)
}

/// The same with the credential that a forge has made for it, for images whose runner reads it there.
pub(crate) fn with_credential(
    parts: &Parts,
    pool: &PoolSpec,
    machine: &MachineId,
    credential: &Secret,
) -> Result<Option<Metadata>, End> {
    full(parts, pool, machine, Some(credential))
}

fn full(
    parts: &Parts,
    pool: &PoolSpec,
    machine: &MachineId,
    credential: Option<&Secret>,
) -> Result<Option<Metadata>, End> {
    if !parts.vmm.capabilities().metadata {
        return Ok(None);
    }
    let data = tree(pool, machine, credential)?;
    Ok(Some(Metadata { version: pool.hardware.mmds, data }))
}

/// Gives a machine its content when it runs already.
pub(crate) async fn deliver(vm: &Vm, metadata: &Metadata) -> Result<(), End> {
    timeout(DEADLINE, vm.set_metadata(&metadata.data))
        .await
        .map_err(|_| {
            End::because(FailureKind::Vmm, format!("the VMM did not accept the metadata within {DEADLINE:?}"))
        })?
        .map_err(|error| End::failed(FailureKind::Vmm, "the machine's metadata", &error))
}

/// The whole tree.
fn tree(pool: &PoolSpec, machine: &MachineId, jit_config: Option<&Secret>) -> Result<Value, End> {
    let mut meta_data = match &pool.metadata {
        Value::Object(own) => own.clone(),
        _ => Map::new(),
    };
    let mut runner = json!({
        "runner_id": machine.as_str(),
        "hostname": machine.as_str(),
    });
    if !meta_data.contains_key("instance-id") {
        // One job, one machine. Of the versions that read this, it must be true or false, not text, and such a value is an error to who
        // asks for it as text. cloud-init does so with each value, and gives the whole service up at an error.
        runner["shutdown_on_exit"] = true.into();
    }
    if let Some(jit_config) = jit_config {
        runner["runner_jit_config"] = jit_config.expose().into();
    }
    meta_data.insert("fireactions".into(), runner);
    let mut version = json!({ "meta-data": meta_data });
    if let Some(user_data) = &pool.user_data {
        version["user-data"] = user_data.as_str().into();
    }
    let tree = json!({ "latest": version, "2009-04-04": version });
    let size = tree.to_string().len();
    if size > LIMIT {
        return Err(End::because(
            FailureKind::Host,
            format!(
                "the metadata of pool '{}' is {size} bytes as its guests read it, but the VMM takes at \
                 most {LIMIT}; everything is there twice (latest and 2009-04-04), so shorten the pool's \
                 metadata and user_data",
                pool.name
            ),
        ));
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use fireactions_model::{ImageRef, PoolName, Shape};

    use super::*;

    fn pool(metadata: Value, user_data: Option<&str>) -> PoolSpec {
        let image = ImageRef::new("debian:12").unwrap();
        let shape = Shape { image, vcpus: 1, memory_mib: 256, disk_mib: 512 };
        PoolSpec {
            metadata,
            user_data: user_data.map(str::to_owned),
            ..PoolSpec::new(PoolName::new("p").unwrap(), shape)
        }
    }

    fn machine() -> MachineId {
        MachineId::from_random([7; 8])
    }

    #[test]
    fn the_tree_is_what_fireactions_images_read() {
        let pool = pool(json!({"example": "value", "nested": {"n": 1}}), Some("#cloud-config\n"));
        let id = machine().to_string();
        let fireactions = json!({"runner_id": id, "hostname": id, "shutdown_on_exit": true});
        let version = json!({
            "meta-data": {"example": "value", "nested": {"n": 1}, "fireactions": fireactions},
            "user-data": "#cloud-config\n",
        });
        let expected = json!({"latest": version, "2009-04-04": version});
        assert_eq!(tree(&pool, &machine(), None).unwrap(), expected);
    }

    #[test]
    fn cloud_init_finds_text_alone() {
        let tree =
            tree(&pool(json!({"instance-id": "i-1"}), None), &machine(), Some(&Secret::new("jit"))).unwrap();
        let meta_data = &tree["2009-04-04"]["meta-data"];
        assert_eq!(meta_data["instance-id"], "i-1");
        let fireactions = meta_data["fireactions"].as_object().unwrap();
        assert_eq!(fireactions.keys().collect::<Vec<_>>(), ["hostname", "runner_id", "runner_jit_config"]);
        assert!(fireactions.values().all(Value::is_string), "{tree}");
    }

    #[test]
    fn a_pool_without_any_has_the_runner_alone_and_cannot_take_its_place() {
        for metadata in [Value::Null, json!({}), json!({"fireactions": {"runner_id": "mine"}})] {
            let tree = tree(&pool(metadata, None), &machine(), None).unwrap();
            let latest = tree["latest"].as_object().unwrap();
            assert_eq!(latest.keys().collect::<Vec<_>>(), ["meta-data"]);
            assert_eq!(latest["meta-data"]["fireactions"]["runner_id"], machine().as_str());
            assert_eq!(latest["meta-data"].as_object().unwrap().len(), 1);
        }
        let secret = Secret::new("jit");
        let tree = tree(&pool(Value::Null, None), &machine(), Some(&secret)).unwrap();
        for version in ["latest", "2009-04-04"] {
            assert_eq!(tree[version]["meta-data"]["fireactions"]["runner_jit_config"], "jit");
        }
    }

    #[test]
    fn what_the_vmm_would_refuse_is_refused_here_with_a_reason() {
        let fits = pool(Value::Null, Some(&"x".repeat(25_000)));
        assert!(tree(&fits, &machine(), None).is_ok());
        let error = tree(&pool(Value::Null, Some(&"x".repeat(26_000))), &machine(), None).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("pool 'p' is 52") && error.contains("takes at most 51200"), "{error}");
    }
}
