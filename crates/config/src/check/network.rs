//! The machines' network: whether guests can live in it, and whether all that the pools may have fit.

use fireactions_model::network_rules;
use ipnet::Ipv6Net;

use super::{At, Check};
use crate::Config;

impl Check<'_> {
    pub(super) fn network(&mut self, config: &Config) {
        let network = At::root().key("network");
        if let Err(rule) = network_rules::bridge_name(&config.network.bridge) {
            let message = "network.bridge is not a valid name for the bridge";
            self.error(&network.key("bridge"), &[], message, rule);
        }
        for (index, server) in config.network.dns.iter().enumerate() {
            if let Err(rule) = network_rules::dns_server(*server) {
                let message = format!("network.dns[{index}] {server} cannot be a DNS server for guests");
                self.error(&network.key("dns").index(index), &[], message, rule);
            }
        }
        for (key, words, rule) in [
            ("dns_search", &config.network.dns_search, network_rules::dns_search as fn(&str) -> _),
            ("dns_options", &config.network.dns_options, network_rules::dns_option),
        ] {
            if words.len() > network_rules::MOST_DNS_WORDS {
                let most = network_rules::MOST_DNS_WORDS;
                let message = format!("network.{key} has {} entries", words.len());
                self.error(&network.key(key), &[], message, format!("use {most} at most"));
            }
            for (index, word) in words.iter().enumerate() {
                if let Err(rule) = rule(word) {
                    let message = format!("network.{key}[{index}] cannot stand in the guests' resolv.conf");
                    self.error(&network.key(key).index(index), &[], message, rule);
                }
            }
        }
        if let Some(mtu) = config.network.mtu.filter(|mtu| !network_rules::MTU.contains(mtu)) {
            let message = format!("network.mtu cannot be {mtu}");
            self.error(&network.key("mtu"), &[], message, "use 576 to 1500, or remove it");
        }
        if let Some(ipv6) = &config.network.ipv6 {
            self.ipv6(&network.key("ipv6").key("subnet"), ipv6.subnet, config.network.mtu);
        }
        let at = network.key("subnet");
        let subnet = config.network.subnet;
        if let Err(rule) = network_rules::subnet(subnet) {
            self.error(&at, &[], format!("network.subnet {subnet} cannot be the machines' network"), rule);
            return;
        }
        if subnet.addr() != subnet.network() {
            self.error(
                &at,
                &[],
                format!("network.subnet {subnet} is the address of a host, not of a network"),
                format!("write {}", subnet.trunc()),
            );
        }
        let wanted: u64 = config.pools.iter().map(|pool| u64::from(pool.max())).sum();
        let capacity = u64::from(config.network.capacity());
        if wanted > capacity {
            self.error(
                &at,
                &[&At::root().key("pools")],
                format!("network.subnet {subnet} has addresses for {capacity} machines, but the pools may have {wanted}"),
                format!("use a prefix of /{} or shorter, or lower max_runners", prefix_for(wanted)),
            );
        } else if wanted == capacity && capacity > 1 {
            // The machine that a template is made of has the last slot.
            self.warn(
                &at,
                format!(
                    "network.subnet {subnet} has addresses for {capacity} machines, of which one is for making templates: the \
                     pools may have {wanted}, and {} run at a time",
                    capacity - 1
                ),
                format!("use a prefix of /{} or shorter, or lower max_runners by one", prefix_for(wanted + 1)),
            );
        }
    }

    fn ipv6(&mut self, at: &At, subnet: Ipv6Net, mtu: Option<u16>) {
        let cannot = format!("network.ipv6.subnet {subnet} cannot be the machines' network");
        if let Err(rule) = network_rules::subnet6(subnet) {
            self.error(at, &[], cannot, rule);
        } else if subnet.addr() != subnet.network() {
            let message = format!("network.ipv6.subnet {subnet} is the address of a host, not of a network");
            self.error(at, &[], message, format!("write {}", subnet.trunc()));
        }
        if let Some(mtu) = mtu.filter(|mtu| *mtu < network_rules::LEAST_MTU6) {
            let mtu_key = At::root().key("network").key("mtu");
            let least = network_rules::LEAST_MTU6;
            let message = format!("IPv6 does not work with network.mtu {mtu}");
            self.error(&mtu_key, &[at], message, format!("use {least} or more, or remove network.ipv6"));
        }
    }
}

fn prefix_for(machines: u64) -> u32 {
    (8..=30).rev().find(|prefix| (1_u64 << (32 - prefix)) - 3 >= machines).unwrap_or(8)
}
