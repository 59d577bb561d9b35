//! The transactions, as text for `nft -f`: each is taken or refused by the kernel as a whole, and says what shall be
//! rather than what to change, so that it may be repeated.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::NetConfig;
use crate::network::Port;
use crate::rules::{Chain, FROM_TAP, GUESTS, TO_TAP, from_chain, port_chains, shared_chains, to_chain};

/// Everything shared and every port's rules, written so that it changes nothing where it is there already.
pub(crate) fn ensure<'a>(config: &NetConfig, ports: impl IntoIterator<Item = &'a Port>) -> String {
    let table = &config.table;
    let mut script = format!(
        "add table bridge {table}\nadd table inet {table}\n\
         add map bridge {table} {FROM_TAP} {{ type ifname : verdict; }}\n\
         add map bridge {table} {TO_TAP} {{ type ifname : verdict; }}\n\
         add map inet {table} {GUESTS} {{ type ipv4_addr : verdict; }}\n"
    );
    if !config.nat {
        // It may be there from a time when the configuration said otherwise.
        let chain = format!("chain inet {table} postrouting");
        let _ = writeln!(
            script,
            "add {chain} {{ type nat hook postrouting priority 100; }}\nflush {chain}\ndelete {chain}"
        );
    }
    write_chains(&mut script, table, &shared_chains(config));
    for port in ports {
        script.push_str(&attach(config, port));
    }
    script
}

/// One port's rules, in place of what it may have had.
pub(crate) fn attach(config: &NetConfig, port: &Port) -> String {
    let (table, tap) = (&config.table, &port.tap);
    let mut script = String::new();
    write_chains(&mut script, table, &port_chains(config, port));
    for (map, chain) in [(FROM_TAP, from_chain(tap)), (TO_TAP, to_chain(tap))] {
        let _ = writeln!(script, "add element bridge {table} {map} {{ \"{tap}\" : jump {chain} }}");
    }
    let _ = writeln!(script, "add element inet {table} {GUESTS} {{ {} : jump {tap} }}", port.address);
    script
}

/// Takes one port's rules away, whether or not they are there; the tables and maps must be.
/// `addresses` are the keys of the port's elements in [`GUESTS`].
pub(crate) fn detach(config: &NetConfig, tap: &str, addresses: &[Ipv4Addr]) -> String {
    let table = &config.table;
    let mut script = String::new();
    for (map, chain) in [(FROM_TAP, from_chain(tap)), (TO_TAP, to_chain(tap))] {
        let _ = writeln!(
            script,
            "add chain bridge {table} {chain}\n\
             add element bridge {table} {map} {{ \"{tap}\" : jump {chain} }}\n\
             delete element bridge {table} {map} {{ \"{tap}\" }}\n\
             flush chain bridge {table} {chain}\n\
             delete chain bridge {table} {chain}"
        );
    }
    let _ = writeln!(script, "add chain inet {table} {tap}");
    for address in addresses {
        let _ = writeln!(
            script,
            "add element inet {table} {GUESTS} {{ {address} : jump {tap} }}\n\
             delete element inet {table} {GUESTS} {{ {address} }}"
        );
    }
    let _ = writeln!(script, "flush chain inet {table} {tap}\ndelete chain inet {table} {tap}");
    script
}

/// Takes both tables away, whether or not they are there.
pub(crate) fn remove(config: &NetConfig) -> String {
    let table = &config.table;
    ["bridge", "inet"]
        .map(|family| format!("add table {family} {table}\ndelete table {family} {table}\n"))
        .concat()
}

fn write_chains(script: &mut String, table: &str, chains: &[Chain]) {
    for Chain { family, name, hook, .. } in chains {
        let chain = format!("chain {} {table} {name}", family.as_str());
        let hook = hook.map(|hook| format!(" {{ {hook}; policy accept; }}")).unwrap_or_default();
        let _ = writeln!(script, "add {chain}{hook}\nflush {chain}");
    }
    for Chain { family, name, rules, .. } in chains {
        for rule in rules {
            let _ = writeln!(script, "add rule {} {table} {name} {rule}", family.as_str());
        }
    }
}
