//! What the network's settings may be: one rule for whoever reads the configuration and whoever makes the network, so that
//! nothing is found to be right that is refused later. The error says what to write instead.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What every tap's name starts with: `fa`, and the `m` of every machine id.
pub const TAP_PREFIX: &str = "fam";

/// Whether a bridge can have this name.
///
/// # Errors
///
/// The rule that it breaks.
pub fn bridge_name(name: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.len() > 15 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.bytes().all(plain) {
        return Err("use 1 to 15 of a-z A-Z 0-9 _ -, starting with a letter");
    }
    if name.starts_with(TAP_PREFIX) {
        return Err("use another name: those that start with 'fam' are for taps");
    }
    Ok(())
}

/// Whether machines can have their addresses there.
///
/// # Errors
///
/// The rule that it breaks.
pub fn subnet(subnet: Ipv4Net) -> Result<(), &'static str> {
    if (8..=29).contains(&subnet.prefix_len()) && subnet.trunc().network().is_private() {
        return Ok(());
    }
    Err("use a /8 to /29 inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
}

/// Whether machines can have their IPv6 addresses there.
///
/// # Errors
///
/// The rule that it breaks.
pub fn subnet6(subnet: Ipv6Net) -> Result<(), &'static str> {
    let first = subnet.network().segments()[0];
    let is_private_or_global = first & 0xfe00 == 0xfc00 || first & 0xe000 == 0x2000;
    if (64..=104).contains(&subnet.prefix_len()) && is_private_or_global {
        return Ok(());
    }
    Err(
        "use a /64 to /104 of your own (fd00::/8 with 40 random bits) or of what your router leads to this host",
    )
}

/// Whether guests can ask a DNS server at this address.
///
/// # Errors
///
/// The rule that it breaks.
pub fn dns_server(server: Ipv4Addr) -> Result<(), &'static str> {
    if server.is_loopback() || server.is_unspecified() || server.is_multicast() || server.is_broadcast() {
        return Err(
            "guests cannot reach it; give an address that is routed, e.g. the bridge's own with a resolver that listens there",
        );
    }
    Ok(())
}

/// Whether a domain can stand in the guests' `search` line.
///
/// # Errors
///
/// The rule that it breaks.
pub fn dns_search(domain: &str) -> Result<(), &'static str> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if domain.len() <= 253 && domain.strip_suffix('.').unwrap_or(domain).split('.').all(label) {
        return Ok(());
    }
    Err("use a domain, such as corp.example.com")
}

/// Whether a word can stand in the guests' `options` line (resolv.conf(5)).
///
/// # Errors
///
/// The rule that it breaks.
pub fn dns_option(word: &str) -> Result<(), &'static str> {
    let (name, number) = word.split_once(':').unwrap_or((word, "0"));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let named = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(plain);
    if named && word.len() <= 40 && number.len() <= 3 && number.parse::<u16>().is_ok() {
        return Ok(());
    }
    Err("use an option of resolv.conf, such as ndots:2, timeout:1 or rotate")
}

/// Most of either.
pub const MOST_DNS_WORDS: usize = 16;

/// The largest packets that guests may be told to send: less breaks IP, and more does not fit through taps and bridge.
pub const MTU: std::ops::RangeInclusive<u16> = 576..=1500;

/// The least that links must carry for IPv6 (RFC 8200, section 5).
pub const LEAST_MTU6: u16 = 1280;

/// Whether only this host can reach what listens there; also where IPv6 says it of an IPv4 address.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether the two cannot be listened at at the same time. Port 0 is any free one.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    // The unspecified address is all of its family; that of IPv6 is those of IPv4 too.
    let covers = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let same = a == b || covers(a, b) || covers(b, a);
    one.port() == other.port() && one.port() != 0 && same
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn names_networks_and_servers() {
        assert_eq!(bridge_name("fireactions0"), Ok(()));
        for odd in ["", "0bridge", "a.b", "famous", "a234567890123456", "a b", "ä"] {
            assert!(bridge_name(odd).is_err(), "{odd}");
        }
        let network = |text: &str| subnet(text.parse().unwrap());
        for good in ["10.0.0.0/8", "172.30.0.0/22", "192.168.1.0/29"] {
            assert_eq!(network(good), Ok(()), "{good}");
        }
        for odd in ["10.0.0.0/30", "10.0.0.0/7", "8.8.8.0/24", "172.32.0.0/16"] {
            assert!(network(odd).is_err(), "{odd}");
        }
        for good in ["corp", "corp.example.com", "a_b.example.com."] {
            assert_eq!(dns_search(good), Ok(()), "{good}");
        }
        for odd in ["", ".", "a b", "a\nnameserver 1.1.1.1", "a..b", &"a".repeat(64)] {
            assert!(dns_search(odd).is_err(), "{odd}");
        }
        for good in ["ndots:2", "rotate", "edns0", "single-request-reopen"] {
            assert_eq!(dns_option(good), Ok(()), "{good}");
        }
        for odd in ["", "ndots:", "ndots:x", "ndots 2", "a\nb", "Rotate", ":1", "ndots:1000"] {
            assert!(dns_option(odd).is_err(), "{odd}");
        }
        assert_eq!(dns_server(Ipv4Addr::new(9, 9, 9, 9)), Ok(()));
        for odd in ["127.0.0.53", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            assert!(dns_server(odd.parse().unwrap()).is_err(), "{odd}");
        }
        for (ip, local) in [("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("::", false)] {
            assert_eq!(is_loopback(ip.parse().unwrap()), local, "{ip}");
        }
    }

    /// A port that was bound at `one`, and whether the kernel refused it at `other` because of that; nothing where this host
    /// has not both addresses.
    fn second_is_refused(one: &str, other: &str) -> Option<(u16, bool)> {
        loop {
            let first = TcpListener::bind(format!("{one}:0")).ok()?;
            let port = first.local_addr().unwrap().port();
            let bind = || TcpListener::bind(format!("{other}:{port}"));
            match bind() {
                Ok(_) => return Some((port, false)),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => drop(first),
                Err(_) => return None,
            }
            // Still refused: another program's port, not the first's.
            if bind().is_ok() {
                return Some((port, true));
            }
        }
    }

    /// The kernel's own word: whether the second can be bound beside the first.
    #[test]
    fn addresses_overlap_where_the_system_refuses_the_second() {
        let all =
            ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:0.0.0.0]"];
        for one in all {
            for other in all {
                let Some((port, taken)) = second_is_refused(one, other) else { continue };
                let address = |ip: &str| format!("{ip}:{port}").parse().unwrap();
                assert_eq!(overlap(address(one), address(other)), taken, "{one} {other}");
            }
        }
        assert!(!overlap("127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()));
        assert!(!overlap("0.0.0.0:80".parse().unwrap(), "127.0.0.1:81".parse().unwrap()));
    }
}
