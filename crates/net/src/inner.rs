//! The single changes behind [`Network`](crate::Network)'s calls. All of them run with the lock held.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_model::MachineId;
use ipnet::{Ipv4Net, Ipv6Net};
use tokio::sync::Mutex;
use tracing::warn;

use crate::config::{TAP_PREFIX, USUAL_BRIDGE, USUAL_TABLE};
use crate::link::{Link, Links};
use crate::netfilter::Channel;
use crate::nft::{Family, Listing, Transaction};
use crate::port::{Port, tap_name};
use crate::{NetConfig, NetError, changes, conntrack, generation, nft, on_link, rules, sysctl, tap, unlink};

/// Who has which port, as far as this process attached them.
pub(crate) type Ports = BTreeMap<MachineId, Port>;

pub(crate) struct Inner {
    pub(crate) config: NetConfig,
    pub(crate) netfilter: Arc<Channel>,
    /// As configured, or of the host's way out, where it is smaller than a guest's.
    pub(crate) mtu: Option<u16>,
    /// Rules that a foreign `nft flush ruleset` took are written again from here; holding the lock is the
    /// right to change anything.
    pub(crate) ports: Arc<Mutex<Ports>>,
    /// The transaction (see `generation.rs`) after which all rules of the ports were seen in the kernel.
    pub(crate) seen_whole: std::sync::Mutex<Option<u32>>,
    /// The networks that the host's links lead to, as the rules name them since they were written.
    pub(crate) named: std::sync::Mutex<Vec<Ipv6Net>>,
}

impl Inner {
    /// Plain data, whole at every moment: a panic elsewhere does not spoil it.
    pub(crate) fn seen_whole(&self) -> MutexGuard<'_, Option<u32>> {
        self.seen_whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the rules name the networks that the host's links lead to now.
    pub(crate) fn names_what_is_on_link(&self) -> bool {
        *self.named.lock().unwrap_or_else(PoisonError::into_inner) == self.on_link()
    }

    /// Bridge, settings, address and all rules.
    pub(crate) async fn ensure(&self, ports: &Ports) -> Result<(), NetError> {
        let NetConfig { bridge, subnet, ipv6, .. } = &self.config;
        let links = Links::connect()?;
        self.check_subnet(&links).await?;
        self.check_tenants(&links).await?;
        let index = links.ensure_bridge(bridge, self.config.bridge_mac()).await?;
        let (name, with_ipv6) = (bridge.clone(), ipv6.is_some());
        blocking(move || sysctl::bridge(&name, with_ipv6)).await?;
        // Rules first: a bridge that comes up is filtered from its first frame on.
        self.write_all(ports).await?;
        self.remove_former_table(&links).await?;
        links.ensure_address(bridge, index, self.config.gateway(), subnet.prefix_len()).await?;
        if let Some(ipv6) = ipv6 {
            links.ensure_address6(bridge, index, ipv6.gateway(), ipv6.subnet.prefix_len()).await?;
        }
        links.up(bridge, index).await
    }

    /// Another bridge of ours with the same addresses would get half of the packets for our guests.
    async fn check_subnet(&self, links: &Links) -> Result<(), NetError> {
        let ours = self.config.subnet.trunc();
        for other in links.all().await? {
            if other.name == self.config.bridge || other.address_if_ours().is_err() {
                continue;
            }
            let taken = links.addresses(&other.name, other.index).await?.into_iter();
            let mut nets = taken.filter_map(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
            if let Some(net) = nets.find(|net| net.contains(&ours) || ours.contains(net)) {
                return Err(NetError::SubnetTaken { subnet: ours, bridge: other.name, net: net.trunc() });
            }
        }
        Ok(())
    }

    /// Machines that run keep their addresses, and rules for other ones would not hold them: nothing is changed then.
    async fn check_tenants(&self, links: &Links) -> Result<(), NetError> {
        let NetConfig { bridge, subnet, .. } = &self.config;
        let Some(former) = links.find(bridge).await?.and_then(|link| link.address_if_ours().ok()) else {
            return Ok(());
        };
        let taps = self.taps(links).await?;
        let machines = taps.iter().filter(|tap| tap.is_open).count();
        if former != self.config.gateway() && machines > 0 {
            return Err(NetError::SubnetInUse {
                bridge: bridge.clone(),
                former,
                subnet: subnet.trunc(),
                machines,
            });
        }
        // Frames of another group are left to another network's rules. Versions that took it for granted to be alone on the
        // host gave taps none.
        for tap in taps.iter().filter(|tap| tap.group != self.config.group()) {
            links.group(&tap.name, tap.index, self.config.group()).await?;
        }
        Ok(())
    }

    /// The usual table, where the server is not the usual one any more and no other is: its rules are those of a time when
    /// there was one table for every bridge, and drop what our taps send.
    async fn remove_former_table(&self, links: &Links) -> Result<(), NetError> {
        if self.config.table() == USUAL_TABLE || links.find(USUAL_BRIDGE).await?.is_some() {
            return Ok(());
        }
        let netfilter = Arc::clone(&self.netfilter);
        blocking(move || {
            let former = nft::list(&netfilter, USUAL_TABLE).map_err(unlisted)?;
            if !rules::MAPS.iter().any(|(family, map, _)| former.sets.contains(&(*family, (*map).to_owned())))
            {
                return Ok(());
            }
            let mut changes = Transaction::new(USUAL_TABLE);
            changes::remove(&mut changes);
            changes.commit(&netfilter).map_err(|refused| NetError::Nft {
                action: "remove the table of an earlier configuration",
                reason: refused.to_string(),
            })
        })
        .await
    }

    /// A port must be what the slot arithmetic would have given, and nobody else's.
    pub(crate) fn check(&self, ports: &Ports, port: &Port) -> Result<(), NetError> {
        let Port { machine, tap, address, mac, .. } = port;
        let wrong = |reason| Err(NetError::Port { machine: machine.to_string(), reason });
        let (subnet, gateway) = (self.config.subnet, self.config.gateway());
        if *tap != tap_name(machine) {
            return wrong(format!("its tap must be named {}, not '{tap}'", tap_name(machine)));
        }
        if !subnet.contains(address) || [gateway, subnet.network(), subnet.broadcast()].contains(address) {
            return wrong(format!("{address} is not a guest address of {subnet}"));
        }
        if mac[0] & 1 == 1 || *mac == [0; 6] || *mac == self.config.bridge_mac() {
            return wrong(format!("{mac:02x?} is not a MAC that a guest can have"));
        }
        let own6 = port.address6;
        if own6.is_some_and(|own| {
            self.config.ipv6.is_none_or(|ipv6| !ipv6.subnet.contains(&own) || own == ipv6.gateway())
        }) {
            return wrong("its IPv6 address is no guest's here".to_owned());
        }
        let twin = ports.values().find(|p| p.machine != *machine && (p.address == *address || p.mac == *mac));
        twin.map_or(Ok(()), |twin| wrong(format!("its address or MAC is machine {}'s", twin.machine)))
    }

    pub(crate) async fn attach(&self, ports: &Ports, port: &Port, old: Option<Port>) -> Result<(), NetError> {
        let links = Links::connect()?;
        // What another machine left under this address; none of its own while it runs.
        let is_new = old.as_ref().is_none_or(|old| old.addresses() != port.addresses());
        let earlier = if is_new { port.addresses() } else { Vec::new() };
        let (index, written, forgotten) = tokio::join!(
            self.make_tap(&links, port),
            self.write_port(ports, port, old),
            self.forget(earlier),
        );
        let index = index?;
        written.and(forgotten)?;
        // Last: what comes from a link that is down goes nowhere, whatever its rules.
        links.up(&port.tap, index).await
    }

    /// Forgets all connections of these addresses.
    pub(crate) async fn forget(&self, addresses: Vec<IpAddr>) -> Result<(), NetError> {
        if addresses.is_empty() {
            return Ok(());
        }
        let netfilter = Arc::clone(&self.netfilter);
        blocking(move || {
            let mut all = addresses.iter();
            all.try_for_each(|address| conntrack::forget(&netfilter, *address)).map_err(|refusal| {
                let action = "forget the connections of an address (ctnetlink)";
                NetError::Netfilter { action, source: refusal.source }
            })
        })
        .await
    }

    /// The port's tap on the bridge. Its index.
    async fn make_tap(&self, links: &Links, port: &Port) -> Result<u32, NetError> {
        let (tap, owner) = (port.tap.clone(), port.owner_uid);
        let wanted = Arc::new(());
        let still = Arc::downgrade(&wanted);
        blocking(move || {
            tap::create(&tap, owner)?;
            // The kernel took too long, and whoever looked for it afterwards found none.
            if still.strong_count() == 0 {
                return tap::abandon(&tap);
            }
            sysctl::no_ipv6(&tap)
        })
        .await?;
        drop(wanted);
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
        links.enslave(&tap.name, tap.index, bridge.index, self.config.group()).await?;
        Ok(tap.index)
    }

    async fn write_port(&self, ports: &Ports, port: &Port, old: Option<Port>) -> Result<(), NetError> {
        let written = self.apply("add a machine's rules", |changes| {
            if let Some(old) = old.filter(|old| old.addresses() != port.addresses()) {
                changes::detach(changes, &old.tap, &old.addresses());
            }
            changes::attach(changes, &self.config, port);
        });
        let written = written.await;
        let Err(NetError::Nft { reason, .. }) = &written else { return written };
        // Either somebody removed our tables, or the address is still that of a machine which is gone.
        warn!(machine = %port.machine, reason, "rules are not as they were left; repairing them");
        let guests = self.guests().await?;
        self.apply("remove an old machine's rules", |changes| {
            let own = port.addresses();
            for (address, tap) in guests.iter().filter(|(a, tap)| own.contains(a) && *tap != port.tap) {
                changes::detach(changes, tap, &[*address]);
            }
        })
        .await?;
        self.write_all(ports).await
    }

    /// All rules in one transaction: on top of what is there, or, where that contradicts (tables of another version), in
    /// its place.
    pub(crate) async fn write_all(&self, ports: &Ports) -> Result<(), NetError> {
        self.check_tables().await?;
        let on_link = self.on_link();
        self.named.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&on_link);
        let ensure =
            |changes: &mut Transaction| changes::ensure(changes, &self.config, &on_link, ports.values());
        let written = self.apply("add our tables", ensure).await;
        let Err(NetError::Nft { reason, .. }) = &written else { return written };
        warn!(reason, "the tables cannot be repaired; making them again");
        self.apply("replace our tables", |changes| {
            changes::remove(changes);
            ensure(changes);
        })
        .await
    }

    /// Whether the tables of our name are ours: those are made in one transaction, with their maps.
    pub(crate) async fn check_tables(&self) -> Result<(), NetError> {
        let listing = self.listing().await?;
        let foreign = |family: &Family| {
            let chains = listing.chains.keys().any(|(of, _)| of == family);
            let sets = || listing.sets.iter().any(|(of, _)| of == family);
            let has = |map: &str| listing.sets.contains(&(*family, map.to_owned()));
            let marked = rules::MAPS.iter().any(|(of, map, _)| of == family && has(map));
            (chains || sets()) && !marked
        };
        match Family::ALL.into_iter().find(foreign) {
            None => Ok(()),
            Some(family) => {
                Err(NetError::ForeignTable { family: family.as_str(), table: self.config.table() })
            }
        }
    }

    /// Whether all rules of these ports are in the kernel, by number.
    pub(crate) async fn complete(&self, ports: &Ports) -> Result<bool, NetError> {
        let listing = self.listing().await?;
        let guests = self.guests().await?;
        let mut wanted = rules::shared_chains(&self.config, &self.on_link());
        wanted.extend(ports.values().flat_map(|port| rules::port_chains(&self.config, port)));
        let chains = self.names_what_is_on_link()
            && wanted
                .into_iter()
                .all(|chain| listing.chains.get(&(chain.family, chain.name)) == Some(&chain.rules.len()));
        let limited = ports
            .values()
            .flat_map(|port| port.addresses().into_iter().map(move |address| (address, port.tap.clone())))
            .all(|guest| guests.contains(&guest));
        let mut reached = chains && limited;
        for (map, chain_of) in
            [(rules::FROM_TAP, rules::from_chain as fn(&str) -> String), (rules::TO_TAP, rules::to_chain)]
        {
            let elements: BTreeMap<_, _> = self.elements(Family::Bridge, map).await?.into_iter().collect();
            let leads = |port: &Port| elements.get(&nft::link_key(&port.tap)) == Some(&chain_of(&port.tap));
            reached &= ports.values().all(leads);
        }
        Ok(reached)
    }

    /// The number of the latest transaction (see `generation.rs`).
    pub(crate) async fn generation(&self) -> Result<u32, NetError> {
        let netfilter = Arc::clone(&self.netfilter);
        blocking(move || generation::latest(&netfilter).map_err(unlisted)).await
    }

    /// What there is of our tables.
    pub(crate) async fn listing(&self) -> Result<Listing, NetError> {
        let (netfilter, table) = (Arc::clone(&self.netfilter), self.config.table());
        blocking(move || nft::list(&netfilter, &table).map_err(unlisted)).await
    }

    /// The addresses that have a connection limit, and the tap whose it is.
    async fn guests(&self) -> Result<Vec<(IpAddr, String)>, NetError> {
        let mut all = Vec::new();
        for (_, map, _) in rules::MAPS.iter().filter(|(family, ..)| *family == Family::Inet) {
            let elements = self.elements(Family::Inet, map).await?.into_iter();
            all.extend(elements.filter_map(|(key, chain)| Some((nft::address(&key)?, chain))));
        }
        Ok(all)
    }

    /// The networks that the host's links lead to by IPv6; none where guests have no IPv6.
    pub(crate) fn on_link(&self) -> Vec<Ipv6Net> {
        if self.config.ipv6.is_none() { Vec::new() } else { on_link::networks(&self.config.bridge) }
    }

    async fn elements(&self, family: Family, map: &'static str) -> Result<Vec<(Vec<u8>, String)>, NetError> {
        let (netfilter, table) = (Arc::clone(&self.netfilter), self.config.table());
        blocking(move || nft::elements(&netfilter, &table, family, map).map_err(unlisted)).await
    }

    /// Makes these changes, all or none.
    pub(crate) async fn apply(
        &self,
        action: &'static str,
        fill: impl FnOnce(&mut Transaction),
    ) -> Result<(), NetError> {
        let mut changes = Transaction::new(&self.config.table());
        fill(&mut changes);
        if changes.is_empty() {
            return Ok(());
        }
        let netfilter = Arc::clone(&self.netfilter);
        blocking(move || {
            changes
                .commit(&netfilter)
                .map_err(|refused| NetError::Nft { action, reason: refused.to_string() })
        })
        .await
    }

    /// Takes tap, rules and connections away, of a machine that `ports` does not have any more.
    pub(crate) async fn detach(&self, ports: &Ports, tap: &str, port: Option<Port>) -> Result<(), NetError> {
        let (link, rules) = tokio::join!(self.delete_tap(tap), self.delete_rules(ports, tap, port));
        // Last: what the tap carries until it is gone would make new entries.
        let forgotten = self.forget(rules?).await;
        link.and(forgotten)
    }

    async fn delete_tap(&self, tap: &str) -> Result<(), NetError> {
        let links = Links::connect()?;
        match links.find(tap).await? {
            Some(link) => unlink::delete(tap, link.index).await,
            None => Ok(()),
        }
    }

    /// `port` is what was known of it. The addresses that it had.
    async fn delete_rules(
        &self,
        ports: &Ports,
        tap: &str,
        port: Option<Port>,
    ) -> Result<Vec<IpAddr>, NetError> {
        let action = "remove a machine's rules";
        let known = port.map(|port| port.addresses()).unwrap_or_default();
        if !known.is_empty() {
            match self.apply(action, |changes| changes::detach(changes, tap, &known)).await {
                Err(NetError::Nft { .. }) => {}
                done => return done.map(|()| known),
            }
        }
        // Not known, or not all there: look at what is.
        let listing = self.listing().await?;
        if !rules::taps(&listing).any(|other| other == tap) {
            return Ok(known);
        }
        let guests = self.guests().await?.into_iter();
        let found: Vec<_> = guests.filter(|(_, chain)| chain == tap).map(|(address, _)| address).collect();
        self.check_tables().await?;
        self.apply(action, |changes| {
            changes::ensure(changes, &self.config, &self.on_link(), ports.values());
            changes::detach(changes, tap, &found);
        })
        .await?;
        Ok([known, found].concat())
    }

    /// Taps of machines on our bridge. One without a bridge may be another server's that is just making it; of what a crash
    /// left that way, the machine's row tells.
    pub(crate) async fn taps(&self, links: &Links) -> Result<Vec<Link>, NetError> {
        let mut all = links.all().await?;
        let bridge = all.iter().find(|link| link.name == self.config.bridge).map(|link| link.index);
        all.retain(|link| {
            link.is_tap()
                && link.name.starts_with(TAP_PREFIX)
                && link.bridge.is_some()
                && link.bridge == bridge
        });
        Ok(all)
    }
}

fn unlisted(source: std::io::Error) -> NetError {
    NetError::Netfilter { action: "list nftables' rules", source }
}

/// Runs what may wait for the kernel's network lock on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetError> + Send + 'static,
) -> Result<T, NetError> {
    let seconds = 10;
    match tokio::time::timeout(Duration::from_secs(seconds), tokio::task::spawn_blocking(work)).await {
        Err(_) => Err(NetError::Timeout { action: "the kernel (taps, netfilter or /proc/sys)", seconds }),
        Ok(done) => done.map_err(|error| NetError::Interrupted(error.to_string()))?,
    }
}
