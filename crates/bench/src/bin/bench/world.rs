//! The real parts that the measurements in this process share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use fireactions_image::{Images, ImagesConfig, RootImage};
use fireactions_model::{ImageRef, MachineId, NetworkPolicy, PullPolicy};
use fireactions_net::{NetConfig, Network, Port};
use fireactions_vmm::Ours;
use fireactions_vmm::accel::{self, Accel};
use fireactions_vmm::boot::{self, BootFiles};
use fireactions_vmm::qemu::{Qemu, QemuConfig};

use crate::Args;

/// Users of the VMM processes; far from any other's.
pub(crate) const UID_BASE: u32 = 1_900_000_000;

pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) modules: PathBuf,
    pub(crate) image: ImageRef,
    pub(crate) images: Images,
    pub(crate) root: RootImage,
    pub(crate) network: Network,
    pub(crate) boot: BootFiles,
    pub(crate) vmm: Arc<Qemu>,
    /// Which accelerator, and why.
    pub(crate) accel: String,
}

impl World {
    pub(crate) async fn new(args: &Args, dir: &Path) -> anyhow::Result<Self> {
        for name in ["run", "boot", "scratch"] {
            std::fs::create_dir(dir.join(name))?;
        }
        let modules = args.programs.modules()?;
        let image = ImageRef::new(format!("oci-archive:{}", args.image().display()))?;
        let images = Images::open(&dir.join("images"), ImagesConfig::default())?;
        let root =
            images.ensure(&image, PullPolicy::IfNotPresent, None).await.context("the bench's image")?;
        let boot_dir = dir.join("boot");
        let kernel = args.programs.kernel.join("vmlinuz");
        let boot = boot::prepare(&boot_dir, &kernel, Some(&modules), &args.programs.agent).await?;
        let accel = accel::choose(Accel::Auto, Path::new("qemu-system-x86_64"), &boot, &boot_dir).await;
        let why = format!("{:?}: {}", accel.accel, accel.why);
        let config = QemuConfig {
            cgroup_parent: Some("fireactions-bench".into()),
            // As a server has it. Nobody else uses this cgroup.
            apart: Some(Ours::new(|_| true)),
            ..QemuConfig::new(accel)
        };
        let network = Network::ensure(NetConfig {
            bridge: "fabench0".into(),
            subnet: "172.31.241.0/24".parse()?,
            ..NetConfig::default()
        })
        .await?;
        Ok(Self {
            dir: dir.to_owned(),
            modules,
            image,
            images,
            root,
            network,
            boot,
            vmm: Arc::new(Qemu::new(config)),
            accel: why,
        })
    }

    /// A slot's place in the network.
    pub(crate) fn port(&self, id: &MachineId, slot: u32) -> anyhow::Result<Port> {
        Ok(Port {
            machine: id.clone(),
            tap: Network::tap_name(id),
            address: self.network.address(slot).context("the subnet has no address")?,
            address6: None,
            mac: Network::mac(slot),
            owner_uid: UID_BASE + slot,
            policy: NetworkPolicy::default(),
        })
    }
}
