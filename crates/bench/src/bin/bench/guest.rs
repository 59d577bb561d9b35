//! One machine of the measurements in this process: made, met, given a job, undone.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use fireactions_guest_proto::host::{Endpoint, JobEvent, Link};
use fireactions_guest_proto::{Identity, RunRequest};
use fireactions_model::{GuestSetup, Hardware, InitMode, MachineId};
use fireactions_net::Port;
use fireactions_vmm::boot::BootFiles;
use fireactions_vmm::{AgentEndpoint, Drive, Nic, Start, Vm, VmSpec, Vmm};

use crate::seed::FIRST_LINE;
use crate::world::{UID_BASE, World};

/// What one machine has of the host: directory, tap, address, user.
pub(crate) struct Resources {
    pub(crate) port: Port,
    dir: PathBuf,
    uid: u32,
}

impl Resources {
    /// Makes the directory. The tap and the scratch disk are the caller's to make.
    pub(crate) fn new(world: &World, slot: u32) -> anyhow::Result<Self> {
        let id = MachineId::from_random(rand::random());
        let dir = world.dir.join("run").join(id.as_str());
        std::fs::create_dir(&dir)?;
        Ok(Self { port: world.port(&id, slot)?, dir, uid: UID_BASE + slot })
    }

    pub(crate) fn id(&self) -> &MachineId {
        &self.port.machine
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.join("scratch.ext4")
    }

    /// The user that the machine's process runs as, and its group.
    pub(crate) fn owner(&self) -> (u32, u32) {
        (self.uid, self.uid)
    }

    pub(crate) fn spec(&self, world: &World, boot: &BootFiles, init: InitMode, start: Start) -> VmSpec {
        VmSpec {
            id: self.id().clone(),
            boot: boot.clone(),
            cmdline_extra: String::new(),
            vcpus: 1,
            memory_mib: 512,
            drives: vec![
                Drive { id: "root".into(), path: world.root.path.clone(), read_only: true },
                Drive { id: "scratch".into(), path: self.scratch(), read_only: false },
            ],
            nics: vec![Nic { tap: self.port.tap.clone(), mac: self.port.mac, bandwidth_mbit: None }],
            run_dir: self.dir.clone(),
            uid: self.uid,
            gid: self.uid,
            console_max: 1 << 20,
            init,
            start,
            hardware: Hardware::default(),
            guest: GuestSetup::default(),
            metadata: None,
        }
    }

    /// The agent channel, looked for from now on.
    pub(crate) fn link(&self, vm: &Vm) -> Link {
        let endpoint = match vm.agent() {
            AgentEndpoint::Dial(path) => Endpoint::Dial(path),
            AgentEndpoint::Listen { path, staging } => Endpoint::Listen { path, staging },
        };
        Link::open(endpoint, self.id().to_string())
    }

    /// Ends the machine, however far it came.
    pub(crate) async fn undo(self, world: &World, vmm: &dyn Vmm) -> anyhow::Result<()> {
        vmm.sweep(&self.dir, self.id(), None).await?;
        world.network.detach(self.id()).await?;
        std::fs::remove_dir_all(&self.dir)?;
        Ok(())
    }
}

/// Gives the guest its identity, as the server does.
pub(crate) async fn configure(world: &World, resources: &Resources, link: &Link) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let identity = Identity {
        hostname: resources.id().to_string(),
        address: resources.port.address,
        prefix: world.network.prefix(),
        gateway: world.network.gateway(),
        dns: vec![],
        machine_id: format!("{:032x}", rand::random::<u128>()),
        entropy: rand::random::<[u8; 64]>().to_vec(),
        unix_nanos: u64::try_from(now.as_nanos())?,
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        mtu: None,
        mac: Some(resources.port.mac),
        ipv6: None,
        services: Vec::new(),
        drop_ins: Vec::new(),
        sticky: Vec::new(),
    };
    link.configure(identity).await?;
    Ok(())
}

/// Gives the guest a job, as the server does, and returns at its first line.
pub(crate) async fn first_line(world: &World, link: &Link) -> anyhow::Result<()> {
    first_line_after(world, link, "true").await
}

/// The same where the line comes when this shell command has succeeded.
pub(crate) async fn first_line_after(world: &World, link: &Link, command: &str) -> anyhow::Result<()> {
    let request = RunRequest {
        run: "bench".into(),
        argv: ["/bin/sh", "-c", &format!("{command} && echo '{FIRST_LINE}'")].map(str::to_owned).to_vec(),
        env: world
            .root
            .config
            .env
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        user: String::new(),
        owner_of: Vec::new(),
        workdir: String::new(),
    };
    link.run(request).await?;
    let JobEvent::Output { data, .. } = link.next_output().await? else {
        bail!("the job ended without a line")
    };
    if !data.starts_with(FIRST_LINE.as_bytes()) {
        bail!("the job said {:?}", String::from_utf8_lossy(&data));
    }
    Ok(())
}
