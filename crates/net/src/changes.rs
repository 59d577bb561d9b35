//! The changes of the rules, each a transaction that says what shall be, so that it may be repeated.

use std::net::IpAddr;

use ipnet::Ipv6Net;

use crate::NetConfig;
use crate::nft::{Family, Transaction, address_key, link_key};
use crate::port::Port;
use crate::rules::{
    Chain, FROM_TAP, MAPS, NAT_HOOK, POSTROUTING, TO_TAP, from_chain, guests, port_chains, shared_chains,
    to_chain,
};

/// Everything shared and every port's rules (`on_link`: the networks that the host's links lead to), written so that it changes nothing where it is there already.
pub(crate) fn ensure<'a>(
    changes: &mut Transaction,
    config: &NetConfig,
    on_link: &[Ipv6Net],
    ports: impl IntoIterator<Item = &'a Port>,
) {
    for family in Family::ALL {
        changes.add_table(family);
    }
    for (family, map, key) in MAPS {
        changes.add_map(family, map, key);
    }
    if !config.masquerades() {
        // It may be there from a time when the configuration said otherwise.
        changes.add_chain(Family::Inet, POSTROUTING, Some(NAT_HOOK));
        changes.flush_chain(Family::Inet, POSTROUTING);
        changes.delete_chain(Family::Inet, POSTROUTING);
    }
    write_chains(changes, &shared_chains(config, on_link));
    for port in ports {
        attach(changes, config, port);
    }
}

/// One port's rules, in place of what it may have had.
pub(crate) fn attach(changes: &mut Transaction, config: &NetConfig, port: &Port) {
    let tap = &port.tap;
    write_chains(changes, &port_chains(config, port));
    for (map, chain) in [(FROM_TAP, from_chain(tap)), (TO_TAP, to_chain(tap))] {
        changes.add_element(Family::Bridge, map, &link_key(tap), &chain);
    }
    for address in port.addresses() {
        changes.add_element(Family::Inet, guests(address), &address_key(address), tap);
    }
}

/// Takes one port's rules away, whether or not they are there; the tables and maps must be.
/// `addresses` are the keys of the port's elements in the maps of [`guests`].
pub(crate) fn detach(changes: &mut Transaction, tap: &str, addresses: &[IpAddr]) {
    for (map, chain) in [(FROM_TAP, from_chain(tap)), (TO_TAP, to_chain(tap))] {
        changes.add_chain(Family::Bridge, &chain, None);
        changes.add_element(Family::Bridge, map, &link_key(tap), &chain);
        changes.delete_element(Family::Bridge, map, &link_key(tap));
        changes.flush_chain(Family::Bridge, &chain);
        changes.delete_chain(Family::Bridge, &chain);
    }
    changes.add_chain(Family::Inet, tap, None);
    for address in addresses {
        let (map, key) = (guests(*address), address_key(*address));
        changes.add_element(Family::Inet, map, &key, tap);
        changes.delete_element(Family::Inet, map, &key);
    }
    changes.flush_chain(Family::Inet, tap);
    changes.delete_chain(Family::Inet, tap);
}

/// Takes both tables away, whether or not they are there.
pub(crate) fn remove(changes: &mut Transaction) {
    for family in Family::ALL {
        changes.add_table(family);
        changes.delete_table(family);
    }
}

fn write_chains(changes: &mut Transaction, chains: &[Chain]) {
    for Chain { family, name, hook, .. } in chains {
        changes.add_chain(*family, name, *hook);
        changes.flush_chain(*family, name);
    }
    for Chain { name, rules, .. } in chains {
        for rule in rules {
            changes.add_rule(name, rule);
        }
    }
}
