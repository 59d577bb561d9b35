//! One machine's place in the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fireactions_model::{MachineId, NetworkPolicy};

/// One machine's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its owner.
    pub machine: MachineId,
    /// Its tap, as [`Network::tap_name`](crate::Network::tap_name) says.
    pub tap: String,
    /// The guest's address, as [`Network::address`](crate::Network::address) says.
    pub address: Ipv4Addr,
    /// Its IPv6 address, as [`Network::address6`](crate::Network::address6) says.
    pub address6: Option<Ipv6Addr>,
    /// The guest's MAC, as [`Network::mac`](crate::Network::mac) says.
    pub mac: [u8; 6],
    /// Who may open the tap beside root.
    pub owner_uid: u32,
    /// What the guest may reach.
    pub policy: NetworkPolicy,
}

impl Port {
    /// Its addresses.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        [Some(self.address.into()), self.address6.map(Into::into)].into_iter().flatten().collect()
    }
}

/// The tap of `machine`, 13 bytes.
pub(crate) fn tap_name(machine: &MachineId) -> String {
    format!("fa{machine}")
}

/// Whose tap it is, by its name.
pub(crate) fn machine_of_tap(tap: &str) -> Option<MachineId> {
    tap.strip_prefix("fa").and_then(|id| MachineId::new(id).ok())
}
