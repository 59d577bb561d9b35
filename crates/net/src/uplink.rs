//! How large a packet may be on the host's way out: guests that know it send none that the host would have to refuse.

use crate::link::Links;

/// What a guest's own link carries, as every Ethernet.
const ETHERNET: u32 = 1500;
/// What guests are told at least: below it the kernel takes a link for no link of IPv4's.
const LEAST: u32 = 576;
/// What IPv6 must carry (RFC 8200): on a link of less, the kernel has none.
const LEAST6: u32 = 1280;

/// The MTU of the link that the host's default route leads to, where it is smaller than a guest's. Not less than what guests need
/// for IPv4, or IPv6 if they have it: what is too large for the way out then, the host has to say.
pub(crate) async fn mtu(ipv6: bool) -> Option<u16> {
    let routes = std::fs::read_to_string("/proc/thread-self/net/route").ok()?;
    let link = Links::connect().ok()?.find(default_link(&routes)?).await.ok()??;
    told(link.mtu, ipv6)
}

fn told(mtu: u32, ipv6: bool) -> Option<u16> {
    let least = if ipv6 { LEAST6 } else { LEAST };
    if mtu >= ETHERNET {
        return None;
    }
    if mtu < least {
        tracing::warn!(mtu, least, "the host's way out takes smaller packets than guests can be told of");
    }
    u16::try_from(mtu.max(least)).ok()
}

/// The link of the default route of the least metric, from the text of `/proc/net/route`.
fn default_link(routes: &str) -> Option<&str> {
    let defaults = routes.lines().skip(1).filter_map(default_of);
    defaults.min_by_key(|(metric, _)| *metric).map(|(_, link)| link)
}

/// Metric and link, if the line is a default route's.
fn default_of(line: &str) -> Option<(u32, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [link, destination, _, _, _, _, metric, mask, ..] = fields[..] else { return None };
    (destination == "00000000" && mask == "00000000").then_some((metric.parse().ok()?, link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_told_what_they_can_live_with() {
        assert_eq!((told(1500, true), told(9000, false)), (None, None));
        assert_eq!(
            (told(1420, true), told(1200, true), told(1200, false)),
            (Some(1420), Some(1280), Some(1200))
        );
        assert_eq!((told(68, false), told(0, false)), (Some(576), Some(576)));
    }

    #[test]
    fn the_best_default_route_is_found() {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let lan = "eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let wlan = "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n";
        let eth = "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        assert_eq!(default_link(&[head, lan, wlan, eth].concat()), Some("eth0"));
        assert_eq!(default_link(&[head, lan, wlan].concat()), Some("wlan0"));
        assert_eq!(default_link(&[head, lan].concat()), None);
        assert_eq!(default_link("nonsense\nmore of it"), None);
    }
}
