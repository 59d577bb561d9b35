//! Who reaches the cache: guests by their bridge, and the host itself.

use crate::Cache;

/// A table for nftables. The server's own rules say the same; this is for a host on which the cache runs without it.
pub fn nft(cache: &Cache) -> String {
    let ports: Vec<String> = cache.ports().iter().map(ToString::to_string).collect();
    let (bridge, gateway, ports) = (&cache.bridge, cache.gateway, ports.join(", "));
    format!(
        "# Guests reach the cache of registries by their bridge, and so does this host. Nobody else does.
#
# A firewall that drops what it does not know must let them in, in its own chain:
#   iifname \"{bridge}\" ip daddr {gateway} tcp dport {{ {ports} }} accept
table inet fireactions_registry_cache
delete table inet fireactions_registry_cache
table inet fireactions_registry_cache {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != {{ \"{bridge}\", \"lo\" }} ip daddr {gateway} tcp dport {{ {ports} }} drop
  }}
}}
"
    )
}
