//! From a running VMM to a guest that knows who it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::Identity;
use fireactions_guest_proto::host::{Endpoint, Link};
use fireactions_image::ImageConfig;
use fireactions_model::{FailureKind, MachineId, Phase, PoolSpec, Step};
use fireactions_vmm::{AgentEndpoint, ExitReason, Vm};
use rand::RngExt;
use tokio::time::timeout;

use crate::create::Made;
use crate::end::End;
use crate::life::Asks;
use crate::parts::Parts;
use crate::record::Record;

/// An agent that does not take up a new session for this long is dead. A guest that is only slow (starved by its host,
/// or short of memory) gets this time on top of the silence that ended its last session.
const AGENT_GONE: Duration = Duration::from_secs(45);

/// A guest that is up: its process and its agent.
pub(crate) struct Guest {
    pub(crate) machine: MachineId,
    pub(crate) vm: Vm,
    pub(crate) link: Link,
}

impl Guest {
    /// Returns the reason, for people, when the guest's agent is of no use any more.
    pub(crate) async fn agent_lost(&self) -> &'static str {
        tokio::select! {
            () = self.link.closed() => "the guest broke the agent protocol",
            () = self.link.silent(AGENT_GONE) => "the guest's agent does not answer any more; it was killed, or the guest hangs",
        }
    }
}

/// Waits for the agent's first word and gives the guest its identity.
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
    let endpoint = match vm.agent() {
        AgentEndpoint::Dial(path) => Endpoint::Dial(path),
        AgentEndpoint::Listen(path) => Endpoint::Listen(path),
    };
    let link = Link::open(endpoint, record.id().to_string());
    made.link = Some(link.clone());

    let hello = tokio::select! {
        hello = timeout(pool.deadlines.boot, link.hello()) => hello,
        exit = vm.exited() => return Err(died(&exit, "while it booted")),
        end = asks.gone() => return Err(end),
    };
    match hello {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(End::failed(FailureKind::Guest, "the guest's agent", &error)),
        Err(_) => {
            return Err(End::because(
                FailureKind::Guest,
                format!(
                    "the guest's agent did not speak within {:?} of the start; last console lines: {}",
                    pool.deadlines.boot,
                    crate::console::last_lines(&vm.console()).await
                ),
            ));
        }
    }
    record.step(Step::Agent).await?;
    record.phase(Phase::Kernel);

    let identity = identity(parts, record);
    tokio::select! {
        done = timeout(pool.deadlines.agent, link.configure(identity)) => done
            .map_err(|_| End::because(FailureKind::Guest, format!(
                "the guest did not take its identity within {:?}", pool.deadlines.agent)))?
            .map_err(|e| End::failed(FailureKind::Guest, "the guest's identity", &e))?,
        exit = vm.exited() => return Err(died(&exit, "while it was configured")),
        end = asks.gone() => return Err(end),
    }
    record.phase(Phase::Agent);
    record.linked(link.clone(), image.clone());
    Ok(Guest { machine: record.id().clone(), vm, link })
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
        mtu: None,
    }
}
