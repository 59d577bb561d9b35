//! Raw frames, written into the tap's own descriptor as a guest that has taken over its network card would.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{HOST_LAN, INTERNET, PRIVATE, World, udp};
use fireactions_model::{NetworkPolicy, PortRule, Protocol};
use fireactions_net::{Network, Port, open_tap};
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};

const PORT: u16 = 7000;
/// How long what must arrive may take, on a busy machine.
const LONG: Duration = Duration::from_secs(5);
/// How long what must not arrive is waited for. A frame written to a tap is through the bridge and the rules when
/// the write returns.
const SHORT: Duration = Duration::from_millis(150);
const BROADCAST: [u8; 6] = [0xff; 6];

fn policy() -> NetworkPolicy {
    let host_ports = vec![PortRule { protocol: Protocol::Udp, port: PORT }];
    NetworkPolicy { host_ports, ..NetworkPolicy::default() }
}

fn bridge_mac() -> [u8; 6] {
    [0x02, 0xfb, 172, 30, 0, 1]
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

fn ipv4_udp(from: Ipv4Addr, to: Ipv4Addr, port: u16, text: &str) -> Vec<u8> {
    let length = u16::try_from(28 + text.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let mut sum: u32 = packet.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    packet.extend(4000_u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]); // no UDP checksum
    packet.extend(text.as_bytes());
    packet
}

fn arp(operation: u8, mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(mac);
    packet.extend(sender.octets());
    packet.extend([0; 6]);
    packet.extend(target.octets());
    packet
}

/// Writes a frame as QEMU does: after an empty virtio-net header.
fn send(tap: &OwnedFd, frame: &[u8]) {
    let mut file = File::from(tap.try_clone().unwrap());
    file.write_all(&[&[0; 10][..], frame].concat()).unwrap();
}

type Test<'a> = &'a dyn Fn(&[u8]) -> bool;

/// The frames that arrive at a tap: all within [`SHORT`], or, if one is `wanted`, all up to it and [`SHORT`] more.
fn receive(tap: &OwnedFd, wanted: Option<Test>) -> Vec<Vec<u8>> {
    let mut file = File::from(tap.try_clone().unwrap());
    let (mut frames, mut buffer) = (Vec::new(), vec![0; 70_000]);
    let mut end = Instant::now() + if wanted.is_some() { LONG } else { SHORT };
    while Instant::now() < end {
        match file.read(&mut buffer) {
            Ok(length) => {
                let frame = buffer[10..length].to_vec();
                if wanted.is_some_and(|wanted| wanted(&frame)) {
                    end = end.min(Instant::now() + SHORT);
                }
                frames.push(frame);
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    frames
}

fn contains(frame: &[u8], text: &str) -> bool {
    frame.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Sees what the bridge device hands to the host, after the bridge's own filter.
struct Sniffer(OwnedFd);

impl Sniffer {
    fn new(world: &World) -> (Self, usize) {
        let index = world.host.run(|| nix::net::if_::if_nametoindex("fireactions0").unwrap());
        let open = || {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap()
        };
        (Self(world.host.run(open)), index as usize)
    }

    fn seen(&self, index: usize, text: &str, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        let mut buffer = vec![0; 70_000];
        while Instant::now() < end {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut buffer) {
                Ok((length, Some(from))) => {
                    if from.ifindex() == index && contains(&buffer[..length], text) {
                        return true;
                    }
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
        false
    }
}

#[test]
fn only_a_frame_with_the_machines_own_addresses_gets_to_the_host() {
    let world = World::new();
    let gateway = world.network.gateway();
    let (me, tap) = world.raw(0, policy());
    let (other, _other_tap) = world.raw(1, policy());
    let server = udp(&world.host, Ipv4Addr::UNSPECIFIED, PORT, SHORT);
    let (sniffer, bridge) = Sniffer::new(&world);
    let good =
        |text: &str| ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(me.address, gateway, PORT, text));
    let within = |frame: &[u8], text: &str, wait: Duration| {
        send(&tap, frame);
        let seen = sniffer.seen(bridge, text, wait);
        server.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 64];
        (server.recv(&mut buffer).is_ok_and(|length| &buffer[..length] == text.as_bytes()), seen)
    };
    let arrives = |frame: &[u8], text: &str| within(frame, text, SHORT);
    let must_arrive = |frame: &[u8], text: &str| within(frame, text, LONG);

    assert_eq!(must_arrive(&good("#good#"), "#good#"), (true, true));
    let nothing = (false, false);
    let frame = ethernet(bridge_mac(), other.mac, 0x0800, &ipv4_udp(me.address, gateway, PORT, "#mac#"));
    assert_eq!(arrives(&frame, "#mac#"), nothing, "another's MAC");
    let frame =
        ethernet(bridge_mac(), [2, 0, 0, 0, 0, 9], 0x0800, &ipv4_udp(me.address, gateway, PORT, "#mac2#"));
    assert_eq!(arrives(&frame, "#mac2#"), nothing, "nobody's MAC");
    for (from, text) in [
        (other.address, "#ip1#"),
        (gateway, "#ip2#"),
        (INTERNET, "#ip3#"),
        (Ipv4Addr::UNSPECIFIED, "#ip4#"),
        (Ipv4Addr::LOCALHOST, "#ip5#"),
    ] {
        let frame = ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(from, gateway, PORT, text));
        assert_eq!(arrives(&frame, text), nothing, "from {from}");
    }
    // A tag in front, and the same frame behind it.
    let tagged = ethernet(
        bridge_mac(),
        me.mac,
        0x8100,
        &[&[0, 0, 8, 0][..], &ipv4_udp(me.address, gateway, PORT, "#vlan#")].concat(),
    );
    assert_eq!(arrives(&tagged, "#vlan#"), nothing, "a VLAN tag of 0");
    // A link-local group address makes the bridge hand the frame to the host as the tap's own.
    for last in [0x00, 0x0e, 0x0f, 0x03] {
        let to = [0x01, 0x80, 0xc2, 0, 0, last];
        for (address, port) in [(gateway, PORT), (HOST_LAN, PORT)] {
            let frame = ethernet(to, me.mac, 0x0800, &ipv4_udp(me.address, address, port, "#lldp#"));
            assert_eq!(arrives(&frame, "#lldp#"), nothing, "to 01:80:c2:00:00:{last:02x}");
        }
    }
    for to in [BROADCAST, [0x01, 0, 0x5e, 0, 0, 1]] {
        let frame = ethernet(to, me.mac, 0x0800, &ipv4_udp(me.address, gateway, PORT, "#group#"));
        assert_eq!(arrives(&frame, "#group#"), nothing, "an IP packet to a group MAC");
    }
    for (address, text) in [
        (Ipv4Addr::BROADCAST, "#bc1#"),
        (Ipv4Addr::new(172, 30, 3, 255), "#bc2#"),
        (Ipv4Addr::new(224, 0, 0, 1), "#mc#"),
        (PRIVATE, "#private#"),
        (HOST_LAN, "#lan#"),
    ] {
        let frame = ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(me.address, address, PORT, text));
        assert_eq!(arrives(&frame, text), nothing, "to {address}");
    }
    assert_eq!(must_arrive(&good("#again#"), "#again#"), (true, true), "and the tap still works");

    // The same frames without the rules: the host's stack would have taken them.
    world.host.sh("nft flush ruleset");
    let spoofed = ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(other.address, gateway, PORT, "#open1#"));
    assert_eq!(must_arrive(&spoofed, "#open1#"), (true, true));
    let to_lan = ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(me.address, HOST_LAN, PORT, "#open2#"));
    assert_eq!(must_arrive(&to_lan, "#open2#"), (true, true));
    let lldp = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
    let by_group = ethernet(lldp, me.mac, 0x0800, &ipv4_udp(me.address, HOST_LAN, PORT, "#open3#"));
    send(&tap, &by_group);
    let heard = server.recv(&mut [0; 64]);
    assert!(heard.is_ok(), "by way of the tap itself, past the bridge: {heard:?}");
}

#[test]
fn arp_tells_and_asks_only_the_truth() {
    let world = World::new();
    let gateway = world.network.gateway();
    let (me, tap) = world.raw(0, policy());
    let (other, _other_tap) = world.raw(1, policy());
    let neighbours = || world.host.sh("ip neigh show dev fireactions0");
    let is_reply = |frame: &[u8]| frame[12..14] == [8, 6] && frame[21] == 2;
    let answered = |frame: &[u8]| {
        receive(&tap, None);
        send(&tap, frame);
        receive(&tap, None).iter().any(|frame| is_reply(frame))
    };
    let ask = |mac, sender, target| ethernet(BROADCAST, me.mac, 0x0806, &arp(1, mac, sender, target));

    send(&tap, &ask(me.mac, me.address, gateway));
    let frames = receive(&tap, Some(&is_reply));
    assert!(frames.iter().any(|frame| is_reply(frame)), "who has the gateway?");
    assert!(!answered(&ask(me.mac, other.address, gateway)), "as another address");
    assert!(!answered(&ask(other.mac, me.address, gateway)), "with another MAC inside");
    assert!(!answered(&ask(me.mac, me.address, HOST_LAN)), "who has the host's LAN address?");
    // Poison: "the gateway, or the other guest, is at my MAC", told to the host.
    for sender in [gateway, other.address, HOST_LAN] {
        send(&tap, &ethernet(bridge_mac(), me.mac, 0x0806, &arp(2, me.mac, sender, gateway)));
        send(&tap, &ethernet(BROADCAST, me.mac, 0x0806, &arp(1, me.mac, sender, sender)));
    }
    thread::sleep(SHORT);
    let table = neighbours();
    assert!(table.contains(&format!("{} ", me.address)), "the honest request was learned: {table}");
    assert!(!table.contains(&format!("{} ", other.address)), "{table}");
}

#[test]
fn ipv6_goes_nowhere() {
    let world = World::new();
    let (me, tap) = world.raw(0, policy());
    let (_other, other_tap) = world.raw(1, policy());
    let (sniffer, bridge) = Sniffer::new(&world);
    let mut packet = vec![0x60, 0, 0, 0, 0, 14, 17, 255];
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0xfa, 0, 0xff, 0xfe, 0, 0, 1]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x10, 0, 0x10, 0, 0, 14, 0, 0]);
    packet.extend(b"#six6#");
    for to in [[0x33, 0x33, 0, 0, 0, 1], bridge_mac(), BROADCAST] {
        send(&tap, &ethernet(to, me.mac, 0x86dd, &packet));
    }
    assert!(!sniffer.seen(bridge, "#six6#", SHORT));
    assert!(!receive(&other_tap, None).iter().any(|frame| contains(frame, "#six6#")));
    for link in ["fireactions0", me.tap.as_str()] {
        let path = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
        assert_eq!(world.host.sh(&format!("cat {path}")).trim(), "1", "{link}");
        assert_eq!(world.host.sh(&format!("ip -6 address show dev {link}")).trim(), "", "{link}");
    }
    // It is the rules: the same frame is seen when they are gone.
    world.host.sh("nft flush ruleset");
    send(&tap, &ethernet(bridge_mac(), me.mac, 0x86dd, &packet));
    assert!(sniffer.seen(bridge, "#six6#", LONG));
}

/// Sends from `a` to `b` over the bridge directly, to everybody, and by way of the gateway.
fn attack(tap: &OwnedFd, a: &Port, b: &Port) {
    for (to, from) in [(b.mac, a.mac), (BROADCAST, a.mac), (bridge_mac(), a.mac)] {
        for address in [a.address, b.address, INTERNET] {
            send(tap, &ethernet(to, from, 0x0800, &ipv4_udp(address, b.address, 9, "#attack#")));
        }
        send(tap, &ethernet(to, from, 0x88b5, b"#attack#"));
    }
    send(tap, &ethernet(BROADCAST, a.mac, 0x0806, &arp(1, a.mac, a.address, b.address)));
}

#[test]
fn no_frame_of_one_guest_arrives_at_another() {
    let world = World::new();
    let (a, a_tap) = world.raw(0, policy());
    let (b, b_tap) = world.raw(1, policy());
    let mac = b.mac.map(|byte| format!("{byte:02x}")).join(":");
    world.host.sh(&format!("ip neigh replace {} lladdr {mac} dev fireactions0", b.address));
    let from_host = udp(&world.host, Ipv4Addr::UNSPECIFIED, 0, Duration::from_secs(1));
    let attacked = |label: &str| {
        receive(&b_tap, None);
        attack(&a_tap, &a, &b);
        from_host.send_to(b"#host#", (b.address, 9)).unwrap();
        let frames = receive(&b_tap, Some(&|frame| contains(frame, "#host#")));
        assert!(frames.iter().any(|frame| contains(frame, "#host#")), "{label}: b's tap does receive");
        frames.iter().any(|frame| contains(frame, "#attack#") || frame[6..12] == a.mac)
    };
    assert!(!attacked("all in place"));
    // Each wall holds alone: isolated ports without rules (only the hairpin is left to the host's routing) …
    world.host.sh(&format!(
        "bridge link set dev {} isolated off; bridge link set dev {} isolated off",
        a.tap, b.tap
    ));
    assert!(!attacked("rules without isolated ports"));
    world.host.sh("nft flush ruleset");
    assert!(attacked("with neither, the attack works"));
    // … and both come back.
    world.host.block_on(|| world.network.attach(&a)).unwrap();
    assert!(!attacked("rules again"));
    let isolated = world.host.sh(&format!("bridge -d link show dev {}", a.tap));
    assert!(isolated.contains("isolated on"), "{isolated}");
}

#[test]
fn a_guest_receives_only_what_is_addressed_to_it() {
    let world = World::new();
    let (a, a_tap) = world.raw(0, policy());
    let (b, _b_tap) = world.raw(1, policy());
    // No entry of the bridge's forwarding table says where b is: its frames are flooded to every port.
    let mac = b.mac.map(|byte| format!("{byte:02x}")).join(":");
    world.host.sh(&format!("ip neigh replace {} lladdr {mac} dev fireactions0", b.address));
    let socket = udp(&world.host, Ipv4Addr::UNSPECIFIED, 0, Duration::from_secs(1));
    socket.send_to(b"#secret#", (b.address, 9)).unwrap();
    socket.send_to(b"#mine#", (a.address, 9)).unwrap();
    // The ARP request for a is answered by hand.
    thread::sleep(Duration::from_millis(50));
    send(&a_tap, &ethernet(bridge_mac(), a.mac, 0x0806, &arp(2, a.mac, a.address, world.network.gateway())));
    let frames = receive(&a_tap, Some(&|frame| contains(frame, "#mine#")));
    assert!(frames.iter().any(|frame| contains(frame, "#mine#")));
    assert!(!frames.iter().any(|frame| contains(frame, "#secret#")));
}

#[test]
fn a_tap_without_an_owner_is_mute() {
    let world = World::new();
    let (me, tap) = world.raw(0, policy());
    let (sniffer, bridge) = Sniffer::new(&world);
    let frame = |text: &str| {
        ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(me.address, world.network.gateway(), PORT, text))
    };
    send(&tap, &frame("#before#"));
    assert!(sniffer.seen(bridge, "#before#", LONG));
    // On the bridge, up, named like ours, but never attached.
    world.host.sh("ip tuntap add famstranger0 mode tap; ip link set famstranger0 master fireactions0; \
         ip link set famstranger0 up");
    let stranger = world.host.run(|| open_tap("famstranger0")).unwrap();
    world.await_carrier("famstranger0");
    send(&stranger, &frame("#stranger#"));
    assert!(!sniffer.seen(bridge, "#stranger#", SHORT));
    let missing = world.host.run(|| open_tap("fam00000000z"));
    assert!(missing.is_err(), "opening must not create a tap without rules");
    assert_eq!(Network::tap_name(&me.machine).len(), 13);
}
