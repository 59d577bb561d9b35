//! Forgetting the connections of an address. Connection tracking keeps an entry for minutes or days after its last packet,
//! and an entry carries what comes back from outside to the address that it was made for, whoever has that now.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::netfilter::{Attributes, Channel, NFPROTO_IPV4, NFPROTO_IPV6, Refusal, value};
use crate::nft::address_key;

// linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_FILTER_F_CTA_IP_SRC: u32 = 1;

/// Of the addresses for documents (RFC 5737, TEST-NET-1): no machine's, and nobody's on a network.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Whether this kernel can be told to forget the connections of an address, as is done for each machine: tried with an address
/// that has none. The kernel loads what it needs for that (nf_conntrack_netlink) where it may. Blocks for as long as the
/// kernel takes, ten seconds at most.
///
/// # Errors
///
/// The kernel's answer: permission denied without `CAP_NET_ADMIN`, most others where the module is not there.
pub fn can_forget() -> io::Result<()> {
    forget(&Channel::open()?, NOBODY.into()).map_err(|refusal| refusal.source)
}

/// Where the address stands in an entry. One that leads to it has its answers come from there, whatever address it was sent to
/// at first.
#[derive(Debug, Clone, Copy)]
enum End {
    Began,
    Answers,
}

impl End {
    /// The tuple that has it, and the flags of a filter by it.
    const fn tuple(self) -> (u16, u32, u32) {
        match self {
            Self::Began => (CTA_TUPLE_ORIG, CTA_FILTER_F_CTA_IP_SRC, 0),
            Self::Answers => (CTA_TUPLE_REPLY, 0, CTA_FILTER_F_CTA_IP_SRC),
        }
    }
}

/// Removes every entry of connections that `address` began, or that lead to it.
pub(crate) fn forget(channel: &Channel, address: IpAddr) -> Result<(), Refusal> {
    let IpAddr::V4(v4) = address else { return forget_each(channel, address) };
    for end in [End::Began, End::Answers] {
        match delete(channel, address, &filter(v4, end)) {
            // Kernels before 6.11 take no filter here, and miss what a single entry is found by.
            Err(refusal) if refusal.source.raw_os_error() == Some(libc::EINVAL) => {
                return forget_each(channel, address);
            }
            done => done?,
        }
    }
    Ok(())
}

/// The same, one entry after the other. Of IPv6 all are listed: kernels have filtered it the wrong way round
/// (`ctnetlink_filter_match_tuple`, from 5.8 on).
fn forget_each(channel: &Channel, address: IpAddr) -> Result<(), Refusal> {
    let filters = match address {
        IpAddr::V4(v4) => vec![filter(v4, End::Began), filter(v4, End::Answers)],
        IpAddr::V6(_) => vec![Attributes::default()],
    };
    let mut found = Vec::new();
    for filter in filters {
        found.extend(with_address(channel, address, &filter)?);
    }
    for entry in found {
        match delete(channel, address, &entry) {
            // It has ended meanwhile.
            Err(refusal) if refusal.source.raw_os_error() == Some(libc::ENOENT) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Those of the listed entries that have the address, at either end.
fn with_address(channel: &Channel, address: IpAddr, filter: &Attributes) -> Result<Vec<Attributes>, Refusal> {
    let key = address_key(address);
    channel.dump(message(IPCTNL_MSG_CT_GET), family(address), filter, |all: &mut Vec<Attributes>, entry| {
        // A kernel that takes no filter here (before 5.8) lists all.
        if [End::Began, End::Answers].iter().any(|end| source(entry, *end) == Some(&key)) {
            all.extend(name_of(entry));
        }
    })
}

/// The sender's address in one direction of a listed entry.
fn source(entry: &[u8], end: End) -> Option<&[u8]> {
    let (tuple, _, _) = end.tuple();
    let ip = value(value(entry, tuple)?, CTA_TUPLE_IP)?;
    value(ip, CTA_IP_V4_SRC).or_else(|| value(ip, CTA_IP_V6_SRC))
}

/// What a listed entry is found by.
fn name_of(entry: &[u8]) -> Option<Attributes> {
    let mut name = Attributes::default();
    name.nest_list(CTA_TUPLE_ORIG, value(entry, CTA_TUPLE_ORIG)?);
    for kind in [CTA_ZONE, CTA_ID] {
        if let Some(value) = value(entry, kind) {
            name.bytes(kind, value);
        }
    }
    Some(name)
}

fn filter(address: Ipv4Addr, end: End) -> Attributes {
    let (tuple, orig, reply) = end.tuple();
    let mut filter = Attributes::default();
    filter.nest(tuple, |tuple| {
        tuple.nest_bytes(CTA_TUPLE_IP, CTA_IP_V4_SRC, &address.octets());
    });
    filter.nest(CTA_FILTER, |flags| {
        flags.bytes(CTA_FILTER_ORIG_FLAGS, &orig.to_ne_bytes());
        flags.bytes(CTA_FILTER_REPLY_FLAGS, &reply.to_ne_bytes());
    });
    filter
}

fn delete(channel: &Channel, address: IpAddr, what: &Attributes) -> Result<(), Refusal> {
    channel.ask(message(IPCTNL_MSG_CT_DELETE), family(address), what)
}

fn message(kind: u16) -> u16 {
    NFNL_SUBSYS_CTNETLINK << 8 | kind
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// The way of kernels before 6.11, which this one has, too.
    #[test]
    fn entries_are_found_and_removed_one_by_one() {
        let inside = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (run the tests as root)");
            let sh = |script| {
                let output = Command::new("sh").args(["-ec", script]).output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8(output.stdout).unwrap()
            };
            sh("ip link set lo up; for n in 1 2 3; do ip address add 10.0.0.$n/32 dev lo; ip address add fd00::$n/128 dev lo nodad; done
                nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'; nft add rule inet t c ct state new accept");
            for [one, other] in [
                ["10.0.0.1", "10.0.0.2"],
                ["10.0.0.3", "10.0.0.1"],
                ["10.0.0.3", "10.0.0.2"],
                ["fd00::1", "fd00::2"],
                ["fd00::3", "fd00::1"],
                ["fd00::3", "fd00::2"],
            ] {
                let ip = |text: &str| text.parse::<IpAddr>().unwrap();
                UdpSocket::bind((ip(one), 4000)).unwrap().send_to(b"x", (ip(other), 9)).unwrap();
            }
            let entries =
                || sh("cat /proc/net/nf_conntrack | grep 'udp.*dport=9 ' | wc -l").trim().to_owned();
            assert_eq!(entries(), "6");
            let channel = Channel::open().unwrap();
            let gone = |text: &str| {
                let bare = |line: &&str| line.contains(&format!("={text} "));
                !sh("cat /proc/net/nf_conntrack").lines().any(|line| bare(&line))
            };
            forget_each(&channel, "10.0.0.1".parse().unwrap()).unwrap();
            assert!(gone("10.0.0.1") && !gone("10.0.0.2"));
            assert_eq!(entries(), "4", "one that it began, and one that leads to it");
            forget(&channel, "10.0.0.2".parse().unwrap()).unwrap();
            assert_eq!(entries(), "3", "the usual way");
            let long = "fd00:0000:0000:0000:0000:0000:0000:000";
            forget(&channel, "fd00::1".parse().unwrap()).unwrap();
            assert!(gone(&format!("{long}1")) && !gone(&format!("{long}2")));
            assert_eq!(entries(), "1");
        });
        inside.join().unwrap();
    }
}
