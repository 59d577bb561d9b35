//! The single changes behind [`Network`](crate::Network)'s calls. All of them run with the lock held.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_model::MachineId;
use tokio::sync::Mutex;
use tracing::warn;

use crate::config::TAP_PREFIX;
use crate::link::{Link, Links};
use crate::network::Port;
use crate::{NetConfig, NetError, Network, nft, rules, script, sysctl, tap, unlink};

/// Who has which port, as far as this process attached them.
pub(crate) type Ports = BTreeMap<MachineId, Port>;

pub(crate) struct Inner {
    pub(crate) config: NetConfig,
    /// Rules that a foreign `nft flush ruleset` took are written again from here; holding the lock is the
    /// right to change anything.
    pub(crate) ports: Arc<Mutex<Ports>>,
    /// The transaction (see `generation.rs`) after which all rules of the ports were seen in the kernel.
    pub(crate) seen_whole: std::sync::Mutex<Option<u32>>,
}

impl Inner {
    /// Plain data, whole at every moment: a panic elsewhere does not spoil it.
    pub(crate) fn seen_whole(&self) -> MutexGuard<'_, Option<u32>> {
        self.seen_whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bridge, settings, address and all rules.
    pub(crate) async fn ensure(&self, ports: &Ports) -> Result<(), NetError> {
        let NetConfig { bridge, subnet, .. } = &self.config;
        let links = Links::connect()?;
        let index = links.ensure_bridge(bridge, self.config.bridge_mac()).await?;
        let name = bridge.clone();
        blocking(move || sysctl::bridge(&name)).await?;
        // Rules first: a bridge that comes up is filtered from its first frame on.
        self.write_all(ports).await?;
        links.ensure_address(bridge, index, self.config.gateway(), subnet.prefix_len()).await?;
        links.up(bridge, index).await
    }

    /// A port must be what the slot arithmetic would have given, and nobody else's.
    pub(crate) fn check(&self, ports: &Ports, port: &Port) -> Result<(), NetError> {
        let Port { machine, tap, address, mac, .. } = port;
        let wrong = |reason| Err(NetError::Port { machine: machine.to_string(), reason });
        let (subnet, gateway) = (self.config.subnet, self.config.gateway());
        if *tap != Network::tap_name(machine) {
            return wrong(format!("its tap must be named {}, not '{tap}'", Network::tap_name(machine)));
        }
        if !subnet.contains(address) || [gateway, subnet.network(), subnet.broadcast()].contains(address) {
            return wrong(format!("{address} is no guest address of {subnet}"));
        }
        if mac[0] & 1 == 1 || *mac == [0; 6] || *mac == self.config.bridge_mac() {
            return wrong(format!("{mac:02x?} is no MAC that a guest can have"));
        }
        let twin = ports.values().find(|p| p.machine != *machine && (p.address == *address || p.mac == *mac));
        twin.map_or(Ok(()), |twin| wrong(format!("its address or MAC is machine {}'s", twin.machine)))
    }

    pub(crate) async fn attach(&self, ports: &Ports, port: &Port, old: Option<Port>) -> Result<(), NetError> {
        let links = Links::connect()?;
        let (index, written) = tokio::join!(self.make_tap(&links, port), self.write_port(ports, port, old));
        let index = index?;
        written?;
        // Last: what comes from a link that is down goes nowhere, whatever its rules.
        links.up(&port.tap, index).await
    }

    /// The port's tap on the bridge. Its index.
    async fn make_tap(&self, links: &Links, port: &Port) -> Result<u32, NetError> {
        let (tap, owner) = (port.tap.clone(), port.owner_uid);
        blocking(move || {
            tap::create(&tap, owner)?;
            sysctl::no_ipv6(&tap)
        })
        .await?;
        let (tap, bridge) = tokio::join!(links.find(&port.tap), links.find(&self.config.bridge));
        let (Some(tap), Some(bridge)) = (tap?, bridge?) else {
            return Err(NetError::Port {
                machine: port.machine.to_string(),
                reason: format!(
                    "its tap or the bridge '{}' was removed by somebody else",
                    self.config.bridge
                ),
            });
        };
        links.enslave(&tap.name, tap.index, bridge.index).await?;
        Ok(tap.index)
    }

    async fn write_port(&self, ports: &Ports, port: &Port, old: Option<Port>) -> Result<(), NetError> {
        let mut script = String::new();
        if let Some(old) = old.filter(|old| old.address != port.address) {
            script = script::detach(&self.config, &old.tap, &[old.address]);
        }
        script.push_str(&script::attach(&self.config, port));
        let Some(message) = nft::offer("add a machine's rules", script).await? else {
            return Ok(());
        };
        // Either somebody removed our tables, or the address is still that of a machine which is gone.
        warn!(machine = %port.machine, message, "rules are not as they were left; putting them in order");
        let listing = nft::list(&self.config.table).await?;
        let mut script = String::new();
        for (address, tap) in listing.guests.iter().filter(|(a, tap)| *a == port.address && *tap != port.tap)
        {
            script.push_str(&script::detach(&self.config, tap, &[*address]));
        }
        nft::apply("remove an old machine's rules", script).await?;
        self.write_all(ports).await
    }

    /// All rules in one transaction: on top of what is there, or, where that contradicts (tables of another
    /// version or of somebody else), in its place.
    pub(crate) async fn write_all(&self, ports: &Ports) -> Result<(), NetError> {
        let script = script::ensure(&self.config, ports.values());
        let Some(message) = nft::offer("add our tables", script.clone()).await? else {
            return Ok(());
        };
        warn!(message, "the tables cannot be brought in order; making them anew");
        nft::apply("replace our tables", script::remove(&self.config) + &script).await
    }

    /// Whether all rules of these ports are in the kernel, by number.
    pub(crate) async fn complete(&self, ports: &Ports) -> Result<bool, NetError> {
        let listing = nft::list(&self.config.table).await?;
        let mut wanted = rules::shared_chains(&self.config);
        wanted.extend(ports.values().flat_map(|port| rules::port_chains(&self.config, port)));
        let chains = wanted
            .into_iter()
            .all(|chain| listing.chains.get(&(chain.family, chain.name)) == Some(&chain.rules.len()));
        let elements = ports.values().all(|port| {
            listing.guests.iter().any(|(address, tap)| *address == port.address && *tap == port.tap)
        });
        Ok(chains && elements && listing.tap_elements >= 2 * ports.len())
    }

    pub(crate) async fn delete_tap(&self, tap: &str) -> Result<(), NetError> {
        let links = Links::connect()?;
        match links.find(tap).await? {
            Some(link) => unlink::delete(tap, link.index).await,
            None => Ok(()),
        }
    }

    /// `port` is what was known of it.
    pub(crate) async fn delete_rules(
        &self,
        ports: &Ports,
        tap: &str,
        port: Option<Port>,
    ) -> Result<(), NetError> {
        if let Some(port) = port {
            let script = script::detach(&self.config, tap, &[port.address]);
            let action = "remove a machine's rules";
            if nft::retract(action, script, &self.config.table, tap).await?.is_none() {
                return Ok(());
            }
        }
        // Not known, or not all there: look at what is.
        let listing = nft::list(&self.config.table).await?;
        if !listing.taps().any(|other| other == tap) {
            return Ok(());
        }
        let mut script = script::ensure(&self.config, ports.values());
        script.push_str(&script::detach(&self.config, tap, &listing.addresses(tap)));
        nft::apply("remove a machine's rules", script).await
    }

    /// Taps of machines on our bridge, and those that a crash left without a bridge.
    pub(crate) async fn taps(&self, links: &Links) -> Result<Vec<Link>, NetError> {
        let mut all = links.all().await?;
        let bridge = all.iter().find(|link| link.name == self.config.bridge).map(|link| link.index);
        all.retain(|link| {
            link.is_tap()
                && link.name.starts_with(TAP_PREFIX)
                && (link.bridge.is_none() || link.bridge == bridge)
        });
        Ok(all)
    }
}

/// Runs what may wait for the kernel's network lock on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetError> + Send + 'static,
) -> Result<T, NetError> {
    let seconds = 10;
    match tokio::time::timeout(Duration::from_secs(seconds), tokio::task::spawn_blocking(work)).await {
        Err(_) => Err(NetError::Timeout { action: "the kernel (tap or /proc/sys)", seconds }),
        Ok(done) => done.map_err(|error| NetError::Interrupted(error.to_string()))?,
    }
}
