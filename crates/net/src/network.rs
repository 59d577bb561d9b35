//! The network as its users see it: every call may be repeated, and changes are made one after another.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use fireactions_model::MachineId;
use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use crate::config::{self, NetConfig};
use crate::inner::{Inner, Ports};
use crate::link::Links;
use crate::netfilter::Channel;
use crate::port::{self, Port};
use crate::{NetError, changes, rules, unlink, uplink};

/// The network of one server. A host can have several, each with its bridge, subnet and tables. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

impl Network {
    /// Makes the bridge, its address, the kernel settings and the shared rules in the network namespace of the
    /// calling thread, or brings them back in order. What machines have there already stays. Turns on
    /// `net.ipv4.ip_forward`, and leaves it on for ever: others may have come to rely on it. A bridge or a table of our
    /// name that we did not make is an error.
    ///
    /// A packet that our rules let pass can still be dropped by another firewall's (Docker sets the policy of
    /// `ip filter FORWARD` to drop): in nftables only a drop is final.
    pub async fn ensure(config: NetConfig) -> Result<Self, NetError> {
        config.check()?;
        let netfilter = Channel::open()
            .map_err(|source| NetError::Netfilter { action: "open a netlink socket to netfilter", source })?;
        let mtu = match config.mtu {
            Some(given) => Some(given),
            None => uplink::mtu(config.ipv6.is_some()).await,
        };
        let network = Self {
            inner: Arc::new(Inner {
                config,
                netfilter: Arc::new(netfilter),
                mtu,
                ports: Arc::default(),
                seen_whole: std::sync::Mutex::default(),
                named: std::sync::Mutex::default(),
            }),
        };
        network.change(|inner, ports| async move { inner.ensure(&ports).await }).await?;
        Ok(network)
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

    /// The largest packet that guests may send, where that is configured, or where the host's way out takes less than Ethernet does.
    pub fn mtu(&self) -> Option<u16> {
        self.inner.mtu
    }

    /// The guest address of `slot`; none from [`Network::capacity`] on.
    pub fn address(&self, slot: u32) -> Option<Ipv4Addr> {
        self.inner.config.address(slot)
    }

    /// The IPv6 address of `slot`, where guests have one.
    pub fn address6(&self, slot: u32) -> Option<Ipv6Addr> {
        let ipv6 = self.inner.config.ipv6?;
        (slot < self.capacity()).then(|| ipv6.address(slot))
    }

    /// The guests' default route by IPv6, and the prefix length of their network, where they have one.
    pub fn gateway6(&self) -> Option<(Ipv6Addr, u8)> {
        self.inner.config.ipv6.map(|ipv6| (ipv6.gateway(), ipv6.subnet.prefix_len()))
    }

    /// The guest MAC of `slot`.
    pub fn mac(slot: u32) -> [u8; 6] {
        config::mac(slot)
    }

    /// The tap of `machine`, 13 bytes.
    pub fn tap_name(machine: &MachineId) -> String {
        port::tap_name(machine)
    }

    /// How many slots there are: slots are 0 to this less one.
    pub fn capacity(&self) -> u32 {
        self.inner.config.capacity()
    }

    /// Gives a machine its tap, up and on the bridge, and its rules. Done again, it writes the same rules again;
    /// connections that exist then no longer count towards the machine's limit.
    pub async fn attach(&self, port: &Port) -> Result<(), NetError> {
        let port = port.clone();
        self.change(|inner, mut ports| async move {
            inner.check(&ports, &port)?;
            // Known from now on: were the rest to fail, detach() knows what to look for.
            let old = ports.insert(port.machine.clone(), port.clone());
            inner.attach(&ports, &port, old).await
        })
        .await
    }

    /// Takes over ports that an earlier process made: their rules are written again, in one transaction, and kept from
    /// now on. Returns those machines whose tap is gone or not on our bridge; they are not taken over.
    pub async fn adopt(&self, wanted: Vec<Port>) -> Result<Vec<MachineId>, NetError> {
        self.change(|inner, mut ports| async move {
            let links = Links::connect()?;
            let taps = inner.taps(&links).await?;
            let mut gone = Vec::new();
            for port in wanted {
                inner.check(&ports, &port)?;
                if !taps.iter().any(|tap| tap.name == port.tap) {
                    gone.push(port.machine);
                    continue;
                }
                ports.insert(port.machine.clone(), port);
            }
            inner.write_all(&ports).await?;
            Ok(gone)
        })
        .await
    }

    /// Returns once no change is under way.
    pub async fn settled(&self) {
        drop(self.inner.ports.lock().await);
    }

    /// Takes a machine's tap and rules away, and forgets the connections of its address; a VMM that has the tap open keeps
    /// a dead descriptor.
    pub async fn detach(&self, machine: &MachineId) -> Result<(), NetError> {
        let machine = machine.clone();
        self.change(|inner, mut ports| async move {
            let port = ports.remove(&machine);
            let done = inner.detach(&ports, &Self::tap_name(&machine), port.clone()).await;
            if done.is_err() {
                // The next try knows whose connections there are to forget.
                ports.extend(port.map(|port| (machine, port)));
            }
            done
        })
        .await
    }

    /// Every machine that has a tap on our bridge or rules in our tables, whoever made them: found by looking, not from memory.
    pub async fn attached(&self) -> Result<Vec<MachineId>, NetError> {
        self.change(|inner, _lock| async move {
            let links = Links::connect()?;
            let (taps, listing) = tokio::join!(inner.taps(&links), inner.listing());
            let (taps, listing) = (taps?, listing?);
            let names: BTreeSet<&str> =
                taps.iter().map(|link| link.name.as_str()).chain(rules::taps(&listing)).collect();
            Ok(names.into_iter().filter_map(port::machine_of_tap).collect())
        })
        .await
    }

    /// Looks whether every rule that this process wrote is still there, and writes all of them again if not.
    /// True if something was missing, or the host's links lead to other networks than they did. For a server to call now and then: `nft flush ruleset`, as a reload of a
    /// foreign firewall does it, would leave running guests without rules.
    pub async fn repair(&self) -> Result<bool, NetError> {
        // Asked before the look: a change during it makes the next one look again. A kernel that cannot say is looked at.
        let latest = self.inner.generation().await.ok();
        if latest.is_some() && self.inner.names_what_is_on_link() && *self.inner.seen_whole() == latest {
            return Ok(false);
        }
        // The first look holds up nobody; one that falls into the middle of an attach is looked at again.
        let ports = self.inner.ports.lock().await.clone();
        if self.inner.complete(&ports).await? {
            *self.inner.seen_whole() = latest;
            return Ok(false);
        }
        self.change(|inner, ports| async move {
            if inner.complete(&ports).await? {
                return Ok(false);
            }
            warn!(table = inner.config.table(), "our nftables rules are not as they must be: somebody removed some, or a link of the host leads to other networks; writing them again");
            inner.ensure(&ports).await.map(|()| true)
        })
        .await
    }

    /// Takes everything of ours away: taps, bridge, tables. Machines that run lose their network.
    pub async fn remove(&self) -> Result<(), NetError> {
        self.change(|inner, mut ports| async move {
            ports.clear();
            let links = Links::connect()?;
            for tap in inner.taps(&links).await? {
                unlink::delete(&tap.name, tap.index).await?;
            }
            if let Some(bridge) = links.find(&inner.config.bridge).await?
                && bridge.address_if_ours().is_ok()
            {
                unlink::delete(&bridge.name, bridge.index).await?;
            }
            inner.check_tables().await?;
            inner.apply("remove our tables", changes::remove).await
        })
        .await
    }

    /// Runs one change with the lock held, in a task of its own: a caller that gives up waiting does not leave
    /// half a change, or one that goes on beside the next. The lock is taken before that task begins: a caller that gives
    /// up before has changed nothing, and no change can begin after one that was asked for later.
    async fn change<T, F, W>(&self, work: F) -> Result<T, NetError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Inner>, OwnedMutexGuard<Ports>) -> W + Send + 'static,
        W: Future<Output = Result<T, NetError>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        let ports = Arc::clone(&inner.ports).lock_owned().await;
        let task = tokio::spawn(async move {
            // There may be other ports afterwards, of which nothing was seen yet.
            *inner.seen_whole() = None;
            work(inner, ports).await
        });
        task.await.map_err(|error| NetError::Interrupted(error.to_string()))?
    }
}
