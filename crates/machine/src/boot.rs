//! From a running VMM to a guest that knows who it is.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::{GuestHello, GuestState, Identity, Ipv6, Ready, Service};
use fireactions_image::ImageConfig;
use fireactions_model::{
    FailureKind, InitMode, MachineState, Phase, PoolSpec, ServiceReadiness, ServiceSpec, StartMode, Step,
};
use fireactions_net::Network;
use rand::RngExt;
use tokio::time::timeout;

use crate::asks::{Ask, Retire};
use crate::end::End;
use crate::guest::{Guest, died, is_introduced, link};
use crate::life::Life;
use crate::metadata;
use crate::parts::Parts;
use crate::record::Record;
use crate::release::{Leaving, may_go};
use crate::sticky_disks;

/// What an image's own init gets beyond that to set up the system; the agent waits for it.
const INIT_DEADLINE: Duration = Duration::from_secs(60);

impl Life {
    /// Waits for the agent's first word and gives the guest its identity, if it has none. What an earlier server began
    /// goes on.
    pub(crate) async fn boot(&mut self, image: &Arc<ImageConfig>) -> Result<Guest, End> {
        let Self { parts, pool, record, made, .. } = self;
        let vm = made
            .vm
            .clone()
            .ok_or_else(|| End::because(FailureKind::Vmm, "there is no VMM process to wait for"))?;
        // A clone's agent has spoken already.
        let link = match &made.link {
            Some(link) => link.clone(),
            None => made.link.insert(link(parts, pool, record, &vm)?).clone(),
        };
        let guest = Guest { machine: record.id().clone(), vm, link };
        if record.view().state == MachineState::Held {
            // A machine that is only looked into need not answer.
            record.linked(guest.link.clone(), Arc::clone(image));
            return Ok(guest);
        }
        let deadline = pool.deadlines.boot;
        let hello = self.meet(&guest, deadline).await?;
        if hello.state == GuestState::Idle {
            if is_introduced(&self.record) {
                let why = "the guest says that it has no identity, although it was given one";
                return Err(End::because(FailureKind::Guest, why));
            }
            self.spoke();
            self.introduce(&guest).await?;
        }
        let Self { parts, pool, record, .. } = self;
        // What a guest could read before it was frozen is not in its clones. The server before may have ended here.
        let booting = record.view().state == MachineState::Booting;
        if booting
            && record.view().started != Some(StartMode::Boot)
            && let Some(metadata) = metadata::of(parts, pool, record.id())?
        {
            metadata::deliver(&guest.vm, &metadata).await?;
        }
        record.linked(guest.link.clone(), Arc::clone(image));
        Ok(guest)
    }

    /// Waits for the agent's first word in this server's time.
    pub(crate) async fn meet(&mut self, guest: &Guest, deadline: Duration) -> Result<GuestHello, End> {
        let Self { parts, record, asks, .. } = self;
        let (parts, record) = (&*parts, &*record);
        let has_job = record.unreported().is_some();
        let mut hello = pin!(timeout(deadline, guest.link.hello()));
        let mut leaving: Option<Leaving<'_>> = None;
        let mut met = None;
        // Once the forge was asked whether the machine may go, its answer counts: it may have released it.
        let hello = loop {
            if leaving.is_none()
                && let Some(hello) = met.take()
            {
                break hello;
            }
            tokio::select! {
                hello = &mut hello, if met.is_none() => met = Some(hello),
                exit = guest.vm.exited() => return Err(died(&exit, "while the server waited for its agent")),
                goes = Leaving::decided(&mut leaving) => {
                    let Some(leaving) = leaving.take() else { continue };
                    let why = leaving.answer(goes);
                    if goes {
                        return Err(End::Retired(why));
                    }
                }
                ask = asks.next() => match ask {
                    Ask::Kill { why } => return Err(End::Retired(why)),
                    Ask::Retire(Retire { why, answer }) => Leaving::ask(&mut leaving, why, answer, || async move {
                        !has_job && may_go(parts, record).await
                    }),
                },
            }
        };
        match hello {
            Ok(Ok(hello)) => Ok(hello),
            Ok(Err(error)) => Err(End::failed(FailureKind::Guest, "the guest's agent", &error)),
            Err(_) => {
                let diagnosis = guest.vm.diagnose().await.map(|text| format!("; {text}")).unwrap_or_default();
                Err(End::because(
                    FailureKind::Guest,
                    format!(
                        "the guest's agent did not speak within {deadline:?}{diagnosis}; last console lines: {}",
                        crate::console::last_lines(&guest.vm.console()).await
                    ),
                ))
            }
        }
    }

    /// Tells a guest who it is.
    async fn introduce(&mut self, guest: &Guest) -> Result<(), End> {
        let Self { parts, pool, record, asks, .. } = self;
        record.step(Step::Agent).await?;
        record.phase(Phase::Kernel);
        let identity = identity(parts, pool, record);
        let services: Duration = pool.services.iter().map(|service| service.timeout).sum();
        let init = if pool.init == InitMode::Image { INIT_DEADLINE } else { Duration::ZERO };
        let deadline = pool.deadlines.agent + services + init;
        let unusable;
        tokio::select! {
            done = timeout(deadline, guest.link.configure(identity)) => unusable = done
                .map_err(|_| End::because(FailureKind::Guest, format!(
                    "the guest did not take its identity and start its services within {deadline:?}")))?
                .map_err(|e| End::failed(FailureKind::Guest, "the guest's identity", &e))?,
            exit = guest.vm.exited() => return Err(died(&exit, "while it was configured")),
            end = asks.retired() => return Err(end),
        }
        record.phase(Phase::Agent);
        self.discard_unusable(&unusable).await;
        Ok(())
    }
}

fn identity(parts: &Parts, pool: &PoolSpec, record: &Record) -> Identity {
    let mut random = rand::rng();
    let mut entropy = vec![0_u8; 64];
    random.fill(&mut entropy[..]);
    let machine_id: u128 = random.random();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Identity {
        hostname: record.id().to_string(),
        // Checked when the tap was made: the slot has an address.
        address: parts.network.address(record.slot()).unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        prefix: parts.network.prefix(),
        gateway: parts.network.gateway(),
        dns: parts.settings.resolvers(),
        dns_search: parts.settings.dns_search.clone(),
        dns_options: parts.settings.dns_options.clone(),
        machine_id: format!("{machine_id:032x}"),
        entropy,
        unix_nanos: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        mtu: parts.network.mtu(),
        services: pool.services.iter().map(service).collect(),
        drop_ins: parts.settings.drop_ins.borrow().clone(),
        sticky: sticky_disks::disks(pool),
        mac: Some(Network::mac(record.slot())),
        ipv6: parts
            .network
            .address6(record.slot())
            .zip(parts.network.gateway6())
            .map(|(address, (gateway, prefix))| Ipv6 { address, prefix, gateway }),
    }
}

fn service(spec: &ServiceSpec) -> Service {
    Service {
        name: spec.name.clone(),
        argv: spec.command.clone(),
        user: spec.user.clone(),
        ready: spec.ready.as_ref().map(|ready| match ready {
            ServiceReadiness::Socket(path) => Ready::Socket(path.clone()),
            ServiceReadiness::Http { socket, path } => {
                Ready::Http { socket: socket.clone(), path: path.clone() }
            }
            ServiceReadiness::Port(port) => Ready::Port(*port),
            ServiceReadiness::Command(argv) => Ready::Command(argv.clone()),
        }),
        restart: spec.restart,
        timeout_ms: u64::try_from(spec.timeout.as_millis()).unwrap_or(u64::MAX),
    }
}
