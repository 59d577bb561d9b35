//! From a running VMM to a guest that knows who it is.

use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::host::{Endpoint, Link};
use fireactions_guest_proto::{GuestHello, GuestState, Identity};
use fireactions_image::ImageConfig;
use fireactions_model::{FailureKind, MachineId, MachineState, Phase, PoolSpec, StartMode, Step};
use fireactions_net::Network;
use fireactions_vmm::{AgentEndpoint, ExitReason, Vm};
use rand::RngExt;
use tokio::time::timeout;

use crate::create::Made;
use crate::end::End;
use crate::life::{Ask, Asks};
use crate::metadata;
use crate::parts::Parts;
use crate::record::Record;
use crate::serve::may_go;

/// A guest that is up: its process and its agent.
pub(crate) struct Guest {
    pub(crate) machine: MachineId,
    pub(crate) vm: Vm,
    pub(crate) link: Link,
}

impl Guest {
    /// Returns the reason, for people, when the guest's agent is of no use any more.
    pub(crate) async fn agent_lost(&self) -> String {
        let reason = tokio::select! {
            () = self.link.closed() => match self.link.failure() {
                Some(error) => error.to_string(),
                None => "the guest broke the agent protocol".to_owned(),
            },
            () = self.link.silent() => {
                "the guest's agent does not answer any more; it was killed, or the guest hangs".to_owned()
            }
        };
        match self.vm.diagnose().await {
            Some(diagnosis) => format!("{reason}; {diagnosis}"),
            None => reason,
        }
    }
}

/// Waits for the agent's first word and gives the guest its identity, if it has none. What an earlier server began
/// goes on.
pub(crate) async fn boot(
    parts: &Parts,
    pool: &PoolSpec,
    record: &mut Record,
    asks: &mut Asks,
    made: &mut Made,
    image: &ImageConfig,
) -> Result<Guest, End> {
    let vm = made
        .vm
        .clone()
        .ok_or_else(|| End::because(FailureKind::Vmm, "there is no VMM process to wait for"))?;
    let open = || Link::open_within(endpoint(&vm), record.id().to_string(), pool.deadlines.silence);
    // A clone's agent has spoken already.
    let link = made.link.get_or_insert_with(open).clone();
    let guest = Guest { machine: record.id().clone(), vm, link };
    if record.view().state == MachineState::Held {
        // A machine that is only looked into need not answer.
        record.linked(guest.link.clone(), image.clone());
        return Ok(guest);
    }
    let hello = meet(parts, record, asks, &guest, pool.deadlines.boot).await?;
    if hello.state == GuestState::Idle {
        record.spoke();
        introduce(parts, pool, record, asks, &guest).await?;
    }
    // What a guest could read before it was frozen is not in its clones. The server before may have ended here.
    let booting = record.view().state == MachineState::Booting;
    if booting
        && record.view().started != Some(StartMode::Boot)
        && let Some(metadata) = metadata::of(parts, pool, record.id())?
    {
        metadata::deliver(&guest.vm, &metadata).await?;
    }
    record.linked(guest.link.clone(), image.clone());
    Ok(guest)
}

/// Where the agent of this machine is met.
pub(crate) fn endpoint(vm: &Vm) -> Endpoint {
    match vm.agent() {
        AgentEndpoint::Dial(path) => Endpoint::Dial(path),
        AgentEndpoint::Listen { path, staging } => Endpoint::Listen { path, staging },
    }
}

/// Waits for the agent's first word in this server's time.
pub(crate) async fn meet(
    parts: &Parts,
    record: &Record,
    asks: &mut Asks,
    guest: &Guest,
    deadline: Duration,
) -> Result<GuestHello, End> {
    let has_job = record.unreported().is_some();
    let mut hello = pin!(timeout(deadline, guest.link.hello()));
    let hello = loop {
        let ask = tokio::select! {
            hello = &mut hello => break hello,
            exit = guest.vm.exited() => return Err(died(&exit, "while its agent was waited for")),
            ask = asks.next() => ask,
        };
        match ask {
            Ask::Kill { why } => return Err(End::Retired(why)),
            Ask::Retire { why, answer } => {
                let goes = !has_job && may_go(parts, record).await;
                let _ = answer.send(goes);
                if goes {
                    return Err(End::Retired(why));
                }
            }
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
async fn introduce(
    parts: &Parts,
    pool: &PoolSpec,
    record: &mut Record,
    asks: &mut Asks,
    guest: &Guest,
) -> Result<(), End> {
    record.step(Step::Agent).await?;
    record.phase(Phase::Kernel);
    let identity = identity(parts, record);
    tokio::select! {
        done = timeout(pool.deadlines.agent, guest.link.configure(identity)) => done
            .map_err(|_| End::because(FailureKind::Guest, format!(
                "the guest did not take its identity within {:?}", pool.deadlines.agent)))?
            .map_err(|e| End::failed(FailureKind::Guest, "the guest's identity", &e))?,
        exit = guest.vm.exited() => return Err(died(&exit, "while it was configured")),
        end = asks.gone() => return Err(end),
    }
    record.phase(Phase::Agent);
    Ok(())
}

/// A VMM process that ended by itself.
pub(crate) fn died(exit: &ExitReason, when: &str) -> End {
    End::because(FailureKind::Vmm, format!("the VMM process ended {when}: {exit}"))
}

fn identity(parts: &Parts, record: &Record) -> Identity {
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
        machine_id: format!("{machine_id:032x}"),
        entropy,
        unix_nanos: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        mtu: parts.network.mtu(),
        mac: Some(Network::mac(record.slot())),
    }
}
