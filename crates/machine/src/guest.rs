//! A guest that is up: its process and its agent.

use fireactions_guest_proto::host::{Endpoint, Link, LinkOptions};
use fireactions_model::{FailureKind, MachineId, MachineState, PoolSpec};
use fireactions_vmm::{AgentEndpoint, ExitReason, Vm};

use crate::end::End;
use crate::parts::Parts;
use crate::record::Record;
use crate::secret;

/// A running guest.
pub(crate) struct Guest {
    pub(crate) machine: MachineId,
    pub(crate) vm: Vm,
    pub(crate) link: Link,
}

impl Guest {
    /// Returns the reason, for people, when the guest's agent does not work any more.
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

/// Opens the link to a machine's agent, which has to prove itself once it has its identity.
pub(crate) fn link(parts: &Parts, pool: &PoolSpec, record: &Record, vm: &Vm) -> Result<Link, End> {
    let options = LinkOptions {
        silence: pool.deadlines.silence,
        secret: secret::of(&parts.settings.machine_dir(record.id()))?,
        secret_given: is_introduced(record),
    };
    Ok(Link::open_with(endpoint(vm), record.id().to_string(), options))
}

/// The guest has its identity: an earlier server gave it.
pub(crate) fn is_introduced(record: &Record) -> bool {
    !matches!(record.view().state, MachineState::Creating | MachineState::Booting)
}

/// Where the agent of this machine is met.
pub(crate) fn endpoint(vm: &Vm) -> Endpoint {
    match vm.agent() {
        AgentEndpoint::Dial(path) => Endpoint::Dial(path),
        AgentEndpoint::Listen { path, staging } => Endpoint::Listen { path, staging },
    }
}

/// A VMM process that ended by itself.
pub(crate) fn died(exit: &ExitReason, when: &str) -> End {
    End::because(FailureKind::Vmm, format!("the VMM process ended {when}: {exit}"))
}
