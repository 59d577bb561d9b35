//! What machines are made with.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fireactions_guest_proto::DropIn;
use fireactions_image::Images;
use fireactions_model::{Event, Forge, MachineId, PoolName, PoolSpec};
use fireactions_net::Network;
use fireactions_store::Store;
use fireactions_vmm::Vmm;
use fireactions_volumes::Volumes;
use tokio::sync::{broadcast, watch};

/// The parts that machines are put together from.
#[derive(Clone)]
pub struct Parts {
    /// Journal and rows.
    pub store: Store,
    /// Root images.
    pub images: Images,
    /// Bridge, taps, rules.
    pub network: Network,
    /// What outlives machines; without it, each one begins anew.
    pub volumes: Option<Volumes>,
    /// The VMM driver.
    pub vmm: Arc<dyn Vmm>,
    /// Who has the jobs.
    pub forge: Arc<dyn Forge>,
    /// Gets an event for every change.
    pub events: broadcast::Sender<Event>,
    /// The rest.
    pub settings: Arc<Settings>,
}

/// Fixed facts of this server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory with one run directory per machine. Short, so that socket paths fit 107 bytes.
    pub run_dir: PathBuf,
    /// Directory of boot files (initramfs, extracted kernels).
    pub boot_dir: PathBuf,
    /// Directory of scratch disk templates; on the run directory's filesystem, so that copies can share blocks.
    pub scratch_dir: PathBuf,
    /// Kernel of pools that name none; absent when every pool names one.
    pub kernel: Option<PathBuf>,
    /// Its modules, if it has needed drivers as modules.
    pub modules: Option<PathBuf>,
    /// The guest agent's binary.
    pub agent: PathBuf,
    /// First of the user ids that VMM processes run under; slot n runs as `uid_base + n`.
    pub uid_base: u32,
    /// Resolvers told to guests.
    pub dns: Vec<Ipv4Addr>,
    /// Domains that guests complete names with.
    pub dns_search: Vec<String>,
    /// Options of the guests' resolver.
    pub dns_options: Vec<String>,
    /// Configuration of programs in guests, as a machine that starts now is given it.
    pub drop_ins: watch::Receiver<Vec<DropIn>>,
    /// Environment of all jobs. What an image or a job says itself counts.
    pub environment: Vec<(String, String)>,
    /// The pools, by name.
    pub pools: BTreeMap<PoolName, Arc<PoolSpec>>,
    /// Largest console log of one machine, in bytes.
    pub console_max: u64,
    /// Largest artifact taken out of a guest, in bytes.
    pub artifact_max: u64,
}

impl Settings {
    /// The directory of one machine's sockets, console and scratch disk.
    pub(crate) fn machine_dir(&self, id: &MachineId) -> PathBuf {
        self.run_dir.join(id.as_str())
    }

    pub(crate) fn resolvers(&self) -> Vec<IpAddr> {
        self.dns.iter().copied().map(IpAddr::V4).collect()
    }

    /// Kernel and modules of a pool, if there is a kernel for it.
    pub fn kernel_of<'a>(&'a self, pool: &'a PoolSpec) -> Option<(&'a Path, Option<&'a Path>)> {
        match &pool.kernel.image {
            Some(image) => Some((image, pool.kernel.modules.as_deref())),
            None => Some((self.kernel.as_deref()?, self.modules.as_deref())),
        }
    }
}
