//! Tables of others that drop what is not theirs.
//!
//! In nftables a drop is final and an accept is not: a packet that our tables let through can still be dropped by
//! another's (docs/network.md, "Beside other firewalls").

use std::path::Path;

use fireactions_config::Config;

use super::checks::FIREWALL;
use super::{Finding, look};

/// A base chain of a table that is not ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Family and name, as `nft list table` takes them.
    pub(super) table: String,
    name: String,
    hook: String,
    drops: bool,
}

/// From the text of `nft list chains`. Chains that hang on no hook are called by others and left out.
pub(super) fn chains(listing: &str) -> Vec<Chain> {
    let mut chains = Vec::new();
    let (mut table, mut name) = ("", "");
    for line in listing.lines().map(str::trim) {
        let words = line.trim_end_matches('{').trim_end();
        if let Some(rest) = words.strip_prefix("table ") {
            table = rest;
        } else if let Some(rest) = words.strip_prefix("chain ") {
            name = rest;
        } else if let Some((_, rest)) = line.split_once(" hook ")
            && !table.contains("fireactions")
        {
            chains.push(Chain {
                table: table.to_owned(),
                name: name.to_owned(),
                hook: rest.split_whitespace().next().unwrap_or_default().to_owned(),
                drops: line.contains("policy drop"),
            });
        }
    }
    chains
}

pub(super) async fn look(config: &Config, others: &[Chain]) -> Finding {
    let bridge = &config.network.bridge;
    let host_ports = config.pools.iter().any(|pool| !pool.network.host_ports.is_empty());
    let mut closed = Vec::new();
    for chain in others.iter().filter(|chain| concerns(chain, host_ports)) {
        let mut args = vec!["-s", "list", "table"];
        args.extend(chain.table.split_whitespace());
        // A table that names our bridge has been told about it.
        let told = look::ask(Path::new("nft"), &args, look::DEADLINE).await;
        if !told.is_ok_and(|answer| answer.stdout.contains(bridge.as_str())) {
            closed.push(chain);
        }
    }
    judge(bridge, &closed)
}

/// Routed packets pass `forward`; those to the host's own ports pass `input`. IPv6 is not given to guests.
fn concerns(chain: &Chain, host_ports: bool) -> bool {
    let family = chain.table.starts_with("ip ") || chain.table.starts_with("inet ");
    family && chain.drops && (chain.hook == "forward" || (chain.hook == "input" && host_ports))
}

fn judge(bridge: &str, closed: &[&Chain]) -> Finding {
    if closed.is_empty() {
        return Finding::ok(&FIREWALL, "no other table drops what guests send by default");
    }
    let names: Vec<String> =
        closed.iter().map(|chain| format!("table {} chain {}", chain.table, chain.name)).collect();
    let advice = if closed.iter().any(|chain| chain.table == "ip filter" && chain.name == "FORWARD") {
        format!(
            "Docker's: `iptables -I DOCKER-USER -i {bridge} -j ACCEPT` and `iptables -I DOCKER-USER -o {bridge} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`"
        )
    } else {
        format!(
            "let packets from and to {bridge} through there, e.g. `nft insert rule TABLE CHAIN iifname {bridge} accept`, and the same with oifname"
        )
    };
    Finding::warning(
        &FIREWALL,
        format!("drop by default, and do not name {bridge}: {}", names.join(", ")),
        advice,
    )
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Ok as Fine, Warning};
    use super::*;

    const LISTING: &str = "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n\
        \tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n\tchain DOCKER-USER {\n\t}\n}\n\
        table ip6 filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
        table inet nixos-fw {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n\
        table inet fireactions {\n\tchain forward {\n\t\ttype filter hook forward priority filter - 10; policy drop;\n\t}\n}\n";

    #[test]
    fn base_chains_of_others_are_read() {
        let all = chains(LISTING);
        let tables: Vec<&str> = all.iter().map(|chain| chain.table.as_str()).collect();
        assert_eq!(tables, ["ip filter", "ip filter", "ip6 filter", "inet nixos-fw"]);
        let of = |ports| {
            let concerned = all.iter().filter(|chain| concerns(chain, ports));
            concerned.map(|chain| format!("{} {}", chain.table, chain.name)).collect::<Vec<_>>()
        };
        assert_eq!(of(false), ["ip filter FORWARD"]);
        assert_eq!(of(true), ["ip filter FORWARD", "inet nixos-fw input"]);
    }

    #[test]
    fn a_closed_table_is_named_with_a_way_through() {
        assert_eq!(judge("fireactions0", &[]).severity, Fine);
        let all = chains(LISTING);
        let docker = judge("fireactions0", &[&all[1]]);
        assert!(
            docker.severity == Warning && docker.found.ends_with("table ip filter chain FORWARD"),
            "{docker:?}"
        );
        assert!(docker.advice.unwrap().contains("DOCKER-USER -i fireactions0"));
        assert!(judge("b", &[&all[3]]).advice.unwrap().contains("iifname b accept"));
    }
}
