//! The networks that the host's own links lead to. By IPv4 these are private ones, as a rule, which guests do not reach anyway;
//! by IPv6 the machines next to the host have addresses of the same kind as all the world.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use crate::ipv6::GLOBAL;

// linux/ipv6_route.h, linux/route.h
const RTF_UP: u32 = 1;
const RTF_GATEWAY: u32 = 2;
const RTF_REJECT: u32 = 0x200;

/// The global IPv6 networks that links of this network namespace lead to without a router, but for `bridge`'s own.
/// None on a host without IPv6.
pub(crate) fn networks(bridge: &str) -> Vec<Ipv6Net> {
    std::fs::read_to_string("/proc/thread-self/net/ipv6_route")
        .map(|text| of(&text, bridge))
        .unwrap_or_default()
}

/// The same of the text of `/proc/net/ipv6_route`, sorted.
fn of(routes: &str, bridge: &str) -> Vec<Ipv6Net> {
    let on_link = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, length, _, _, _, _, _, _, flags, link] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let address = Ipv6Addr::from_bits(u128::from_str_radix(destination, 16).ok()?);
        let net = Ipv6Net::new(address, u8::from_str_radix(length, 16).ok()?).ok()?.trunc();
        let leads = flags & (RTF_UP | RTF_GATEWAY | RTF_REJECT) == RTF_UP;
        (leads && link != bridge && link != "lo" && GLOBAL.contains(&net)).then_some(net)
    };
    Ipv6Net::aggregate(&routes.lines().filter_map(on_link).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_leads_to_is_found() {
        let routes = "\
20010db8000100000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
20010db8000200000000000000000000 40 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000100 00000001 00000000 00000003     eth0
20010db8000300000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 fireactions0
20010db8000400000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000201     eth0
20010db8000100000000000000000007 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
nonsense
";
        assert_eq!(of(routes, "fireactions0"), ["2001:db8:1::/64".parse::<Ipv6Net>().unwrap()]);
    }
}
