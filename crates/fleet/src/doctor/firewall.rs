//! Tables of others that drop what is not theirs.
//!
//! In nftables a drop is final and an accept is not: a packet that our tables let through can still be dropped by
//! another's (docs/network.md, "Beside other firewalls").

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fireactions_config::Config;

use super::checks::FIREWALL;
use super::{Finding, look};

/// Our tables, of which `nft` says the family first. A bridge's name stands behind, unless it is the usual one.
const OURS: [&str; 2] = ["bridge fireactions", "inet fireactions"];

fn is_ours(table: &str) -> bool {
    let rest = |ours: &&str| table.strip_prefix(*ours).map(str::to_owned);
    OURS.iter().find_map(rest).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// A base chain of a table that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            && !is_ours(table)
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
    // Guests may talk to the host itself, if only to its resolver.
    let caches = config.registry_cache.enabled || config.actions_cache.enabled;
    let asked = config.network.dns.contains(&config.network.gateway()) || caches;
    let to_host = asked || config.pools.iter().any(|pool| !pool.network.host_ports.is_empty());
    let concerned: Vec<&Chain> = others.iter().filter(|chain| concerns(chain, to_host)).collect();
    let mut tables = BTreeMap::new();
    for table in concerned.iter().map(|chain| chain.table.as_str()).collect::<BTreeSet<_>>() {
        let mut args = vec!["-s", "list", "table"];
        args.extend(table.split_whitespace());
        let answer = look::ask(Path::new("nft"), &args, look::DEADLINE).await;
        tables.insert(table, answer.map(|answer| answer.stdout).unwrap_or_default());
    }
    let body = |chain: &Chain| tables.get(chain.table.as_str()).map_or("", String::as_str);
    let closed: Vec<(&Chain, &str)> = concerned
        .into_iter()
        .map(|chain| (chain, body(chain)))
        .filter(|(chain, body)| closes(chain, body, bridge))
        .collect();
    judge(bridge, &closed)
}

/// Routed packets pass `forward`, those to the host itself `input`, and all of them what is before and after. IPv6 is not
/// given to guests.
fn concerns(chain: &Chain, to_host: bool) -> bool {
    let family = ["ip ", "inet ", "bridge "].iter().any(|family| chain.table.starts_with(family));
    let hook = matches!(chain.hook.as_str(), "prerouting" | "forward" | "postrouting");
    family && (hook || (chain.hook == "input" && to_host))
}

/// Whether the chain, in a table that reads like this, drops what no rule lets through, and no rule of the table lets the
/// bridge's packets through.
fn closes(chain: &Chain, table: &str, bridge: &str) -> bool {
    let begin = format!("chain {} {{", chain.name);
    let mut rules = table.lines().map(str::trim).skip_while(|line| *line != begin).skip(1);
    let last = rules.by_ref().take_while(|line| *line != "}").last().unwrap_or_default();
    let always = last.strip_prefix("counter ").unwrap_or(last);
    let drops = chain.drops || always == "drop" || always.starts_with("reject");
    let named = format!("\"{bridge}\"");
    let told = |line: &str| line.contains(&named) && !line.ends_with("drop") && !line.contains(" reject");
    drops && !table.lines().any(|line| told(line.trim()))
}

fn judge(bridge: &str, closed: &[(&Chain, &str)]) -> Finding {
    if closed.is_empty() {
        return Finding::ok(&FIREWALL, "no other table drops guests' traffic by default");
    }
    let names: Vec<String> =
        closed.iter().map(|(chain, _)| format!("table {} chain {}", chain.table, chain.name)).collect();
    let docker = |chain: &Chain, table: &str| {
        chain.table == "ip filter" && chain.name == "FORWARD" && table.contains("chain DOCKER-USER {")
    };
    let mut advice = Vec::new();
    if closed.iter().any(|(chain, table)| docker(chain, table)) {
        advice.push(format!(
            "Docker's: `iptables -I DOCKER-USER -i {bridge} -j ACCEPT` and `iptables -I DOCKER-USER -o {bridge} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`"
        ));
    }
    for (chain, table) in closed.iter().filter(|(chain, table)| !docker(chain, table)) {
        let advised = if chain.table.ends_with(" firewalld") {
            // It owns its table: nobody else can change it, and a reload would undo it.
            format!(
                "firewalld's: `firewall-cmd --permanent --zone=trusted --add-interface={bridge}` and `firewall-cmd --reload`"
            )
        } else if table.contains("chain ufw-") {
            format!("ufw's: `ufw route allow in on {bridge}` and `ufw allow in on {bridge}`")
        } else {
            format!(
                "allow packets from and to {bridge}, e.g. `nft insert rule {} {} iifname {bridge} accept`, and \
                 the same with oifname",
                chain.table, chain.name
            )
        };
        if !advice.contains(&advised) {
            advice.push(advised);
        }
    }
    Finding::warning(
        &FIREWALL,
        format!("drop by default, and do not allow {bridge}: {}", names.join(", ")),
        advice.join("; "),
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

    fn named(listing: &str, to_host: bool) -> Vec<String> {
        let all = chains(listing);
        let concerned = all.iter().filter(|chain| concerns(chain, to_host) && closes(chain, listing, "fa0"));
        concerned.map(|chain| format!("{} {}", chain.table, chain.name)).collect()
    }

    #[test]
    fn base_chains_of_others_are_read() {
        let all = chains(LISTING);
        let tables: Vec<&str> = all.iter().map(|chain| chain.table.as_str()).collect();
        assert_eq!(tables, ["ip filter", "ip filter", "ip6 filter", "inet nixos-fw"]);
        assert_eq!(named(LISTING, false), ["ip filter FORWARD"]);
        assert_eq!(named(LISTING, true), ["ip filter FORWARD", "inet nixos-fw input"]);
    }

    /// One table with one base chain of these rules.
    fn table(name: &str, hook: &str, policy: &str, rules: &[&str]) -> String {
        let rules = rules.join("\n\t\t");
        format!(
            "table {name} {{\n\tchain c {{\n\t\ttype filter hook {hook} priority 0; policy {policy};\n\t\t{rules}\n\t}}\n}}\n"
        )
    }

    #[test]
    fn only_our_own_tables_are_passed_over() {
        for name in ["inet not-fireactions", "inet fireactions2", "ip fireactions"] {
            assert_eq!(named(&table(name, "forward", "drop", &[]), false), [format!("{name} c")]);
        }
        for name in ["inet fireactions", "bridge fireactions-fireteact0"] {
            assert!(named(&table(name, "forward", "drop", &[]), false).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_chain_that_ends_with_a_refusal_is_closed_and_one_that_lets_the_bridge_through_is_not() {
        let closed = |hook: &str, policy: &str, rules: &[&str]| {
            !named(&table("inet f", hook, policy, rules), false).is_empty()
        };
        assert!(closed(
            "forward",
            "accept",
            &["ct state established accept", "reject with icmpx admin-prohibited"]
        ));
        assert!(closed("forward", "accept", &["counter drop"]) && closed("prerouting", "drop", &[]));
        assert!(!closed("forward", "accept", &["ip saddr 1.2.3.4 drop"]) && !closed("output", "drop", &[]));
        assert!(!closed("forward", "drop", &["iifname \"fa0\" accept"]));
        // Another bridge, and a rule that says no.
        assert!(closed("forward", "drop", &["iifname \"fa01\" accept"]));
        assert!(closed("forward", "drop", &["iifname \"fa0\" drop"]));
        assert!(!named(&table("bridge f", "forward", "drop", &[]), false).is_empty());
    }

    #[test]
    fn each_closed_table_is_named_with_its_way_through() {
        assert_eq!(judge("fireactions0", &[]).severity, Fine);
        let all = chains(LISTING);
        let docker = judge("fireactions0", &[(&all[1], LISTING)]);
        assert!(
            docker.severity == Warning && docker.found.ends_with("table ip filter chain FORWARD"),
            "{docker:?}"
        );
        let advice = docker.advice.unwrap();
        assert!(advice.contains("DOCKER-USER -i fireactions0") && !advice.contains("nft insert"));
        // The same chain where there is no Docker, and both together.
        let advice = judge("b", &[(&all[1], "")]).advice.unwrap();
        assert!(advice.contains("nft insert rule ip filter FORWARD iifname b") && !advice.contains("DOCKER"));
        let advice = judge("b", &[(&all[1], LISTING), (&all[3], LISTING)]).advice.unwrap();
        assert!(advice.contains("DOCKER-USER -i b") && advice.contains("rule inet nixos-fw input iifname b"));
    }

    #[test]
    fn whose_program_makes_the_rules_is_told_by_it() {
        let firewalld =
            table("inet firewalld", "forward", "drop", &[]) + &table("inet firewalld", "input", "drop", &[]);
        let all = chains(&firewalld);
        let advice = judge("b", &[(&all[0], &firewalld), (&all[1], &firewalld)]).advice.unwrap();
        assert!(
            advice.starts_with("firewalld's: `firewall-cmd --permanent --zone=trusted --add-interface=b`"),
            "{advice}"
        );
        assert!(
            !advice.contains("nft insert") && advice.matches("firewalld's").count() == 1,
            "its table is its own: {advice}"
        );
        let ufw = table("ip filter", "forward", "drop", &["jump ufw-before-forward"])
            + "chain ufw-before-forward {\n}\n";
        let advice = judge("b", &[(&chains(&ufw)[0], &ufw)]).advice.unwrap();
        assert!(advice.contains("`ufw route allow in on b`") && !advice.contains("nft insert"), "{advice}");
    }
}
