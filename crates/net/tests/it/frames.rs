//! Raw frames, written into the tap's own descriptor as a guest that has taken over its network card would.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::common::{HOST_LAN, INTERNET, PRIVATE, World, open_tap, udp};
use fireactions_model::{NetworkPolicy, PortRule, Protocol};
use fireactions_net::{Network, Port};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};

const PORT: u16 = 7000;
/// How long what must arrive may take, on a busy machine. What must not is not waited for: a frame written to a tap is through
/// the bridge and the rules when the write returns, so it is lost when one that was written later is there.
const LONG: Duration = Duration::from_secs(30);
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

/// Waits until there is something to read.
fn await_input(fd: BorrowedFd, end: Instant, what: &str) {
    let left = end.saturating_duration_since(Instant::now());
    let mut ready = [PollFd::new(fd, PollFlags::POLLIN)];
    let count = poll(&mut ready, PollTimeout::try_from(left).unwrap()).unwrap();
    assert!(count > 0, "{what} did not arrive within {LONG:?}");
}

/// The frames that have arrived at a tap.
fn arrived(tap: &OwnedFd) -> Vec<Vec<u8>> {
    let mut file = File::from(tap.try_clone().unwrap());
    let (mut frames, mut buffer) = (Vec::new(), vec![0; 70_000]);
    while let Ok(length) = file.read(&mut buffer) {
        frames.push(buffer[10..length].to_vec());
    }
    frames
}

/// The frames that arrive at a tap up to the one that is wanted, and what has come with it.
fn receive(tap: &OwnedFd, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let (mut frames, end) = (Vec::new(), Instant::now() + LONG);
    loop {
        frames.extend(arrived(tap));
        if frames.iter().any(|frame| wanted(frame)) {
            return frames;
        }
        await_input(tap.as_fd(), end, what);
    }
}

fn contains(frame: &[u8], text: &str) -> bool {
    frame.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Sees what goes through a link of the host: of the bridge device, what it hands to the host after its own filter.
struct Sniffer {
    socket: OwnedFd,
    index: usize,
}

impl Sniffer {
    fn on(world: &World, link: &str) -> Self {
        let index = world.host.run(|| nix::net::if_::if_nametoindex(link).unwrap());
        let open = || {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap()
        };
        Self { socket: world.host.run(open), index: index as usize }
    }

    fn new(world: &World) -> Self {
        Self::on(world, "fireactions0")
    }

    /// The frames that it has seen since.
    fn seen(&self) -> Vec<Vec<u8>> {
        let (mut frames, mut buffer) = (Vec::new(), vec![0; 70_000]);
        while let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
            if from.is_some_and(|from| from.ifindex() == self.index) {
                frames.push(buffer[..length].to_vec());
            }
        }
        frames
    }

    /// All frames up to the one that is wanted, and what has come with it.
    fn until(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let (mut frames, end) = (Vec::new(), Instant::now() + LONG);
        loop {
            frames.extend(self.seen());
            if frames.iter().any(|frame| wanted(frame)) {
                return frames;
            }
            await_input(self.socket.as_fd(), end, what);
        }
    }

    fn until_text(&self, text: &str) -> Vec<Vec<u8>> {
        self.until(text, |frame| contains(frame, text))
    }
}

/// What a socket receives up to this text.
fn heard(socket: &UdpSocket, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut buffer = [0; 64];
    while texts.last().is_none_or(|text| text != last) {
        let length =
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{last} did not arrive: {error}"));
        texts.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    texts
}

#[test]
fn only_a_frame_with_the_machines_own_addresses_gets_to_the_host() {
    let world = World::new();
    let gateway = world.network.gateway();
    let (me, tap) = world.raw(0, policy());
    let (other, _other_tap) = world.raw(1, policy());
    let server = udp(&world.host, Ipv4Addr::UNSPECIFIED, PORT, LONG);
    let sniffer = Sniffer::new(&world);
    let good =
        |text: &str| ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(me.address, gateway, PORT, text));
    // Whether the server heard it, and whether it was seen on the bridge, by the time that a good frame after it was.
    let count = Cell::new(0);
    let arrives = |frame: &[u8], text: &str| {
        count.set(count.get() + 1);
        let after = format!("#after-{}#", count.get());
        send(&tap, frame);
        send(&tap, &good(&after));
        let seen = sniffer.until_text(&after);
        (
            heard(&server, &after).iter().any(|heard| heard == text),
            seen.iter().any(|frame| contains(frame, text)),
        )
    };

    assert_eq!(arrives(&good("#good#"), "#good#"), (true, true));
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
    assert_eq!(arrives(&good("#again#"), "#again#"), (true, true), "and the tap still works");

    // The same frames without the rules: the host's stack would have taken them.
    world.host.sh("nft flush ruleset");
    let spoofed = ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(other.address, gateway, PORT, "#open1#"));
    assert_eq!(arrives(&spoofed, "#open1#"), (true, true));
    let to_lan = ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(me.address, HOST_LAN, PORT, "#open2#"));
    assert_eq!(arrives(&to_lan, "#open2#"), (true, true));
    let lldp = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
    let by_group = ethernet(lldp, me.mac, 0x0800, &ipv4_udp(me.address, HOST_LAN, PORT, "#open3#"));
    send(&tap, &by_group);
    heard(&server, "#open3#"); // by way of the tap itself, past the bridge
}

#[test]
fn arp_tells_and_asks_only_the_truth() {
    let world = World::new();
    let gateway = world.network.gateway();
    let (me, tap) = world.raw(0, policy());
    let (other, _other_tap) = world.raw(1, policy());
    let sniffer = Sniffer::new(&world);
    let neighbours = || world.host.sh("ip neigh show dev fireactions0");
    let is_reply = |frame: &[u8]| frame[12..14] == [8, 6] && frame[21] == 2;
    let ask = |mac, sender, target| ethernet(BROADCAST, me.mac, 0x0806, &arp(1, mac, sender, target));
    // After what is asked, an honest question: all answers on the bridge up to the one to that.
    let replies = |frames: &[Vec<u8>]| {
        arrived(&tap);
        for frame in frames {
            send(&tap, frame);
        }
        send(&tap, &ask(me.mac, me.address, gateway));
        receive(&tap, "the answer of the gateway", is_reply);
        sniffer.until("the answer of the gateway", |frame| {
            is_reply(frame) && frame[28..32] == gateway.octets() && frame[38..42] == me.address.octets()
        })
    };
    let answered =
        |frame: &[u8]| replies(&[frame.to_vec()]).iter().filter(|frame| is_reply(frame)).count() > 1;

    assert!(!answered(&ask(me.mac, other.address, gateway)), "as another address");
    assert!(!answered(&ask(other.mac, me.address, gateway)), "with another MAC inside");
    assert!(!answered(&ask(me.mac, me.address, HOST_LAN)), "who has the host's LAN address?");
    // Poison: "the gateway, or the other guest, is at my MAC", told to the host.
    let poison: Vec<Vec<u8>> = [gateway, other.address, HOST_LAN]
        .iter()
        .flat_map(|sender| {
            [
                ethernet(bridge_mac(), me.mac, 0x0806, &arp(2, me.mac, *sender, gateway)),
                ethernet(BROADCAST, me.mac, 0x0806, &arp(1, me.mac, *sender, *sender)),
            ]
        })
        .collect();
    let seen = replies(&poison);
    assert!(seen.iter().all(|frame| !poison.contains(frame)), "{seen:?}");
    let table = neighbours();
    assert!(table.contains(&format!("{} ", me.address)), "the honest request was learned: {table}");
    assert!(!table.contains(&format!("{} ", other.address)), "{table}");
    // It is the rules: without them the host answers, and believes.
    world.host.sh("nft flush ruleset");
    assert!(answered(&ask(me.mac, other.address, gateway)));
    assert!(neighbours().contains(&format!("{} ", other.address)), "{}", neighbours());
}

#[test]
fn ipv6_goes_nowhere() {
    let world = World::new();
    let (me, tap) = world.raw(0, policy());
    let (other, other_tap) = world.raw(1, policy());
    let sniffer = Sniffer::new(&world);
    let mac = other.mac.map(|byte| format!("{byte:02x}")).join(":");
    world.host.sh(&format!("ip neigh replace {} lladdr {mac} dev fireactions0", other.address));
    let mut packet = vec![0x60, 0, 0, 0, 0, 14, 17, 255];
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0xfa, 0, 0xff, 0xfe, 0, 0, 1]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x10, 0, 0x10, 0, 0, 14, 0, 0]);
    packet.extend(b"#six6#");
    for to in [[0x33, 0x33, 0, 0, 0, 1], bridge_mac(), BROADCAST] {
        send(&tap, &ethernet(to, me.mac, 0x86dd, &packet));
    }
    let after = ipv4_udp(me.address, world.network.gateway(), PORT, "#after#");
    send(&tap, &ethernet(bridge_mac(), me.mac, 0x0800, &after));
    assert!(!sniffer.until_text("#after#").iter().any(|frame| contains(frame, "#six6#")));
    let from_host = udp(&world.host, Ipv4Addr::UNSPECIFIED, 0, LONG);
    from_host.send_to(b"#host#", (other.address, 9)).unwrap();
    let frames = receive(&other_tap, "#host#", |frame| contains(frame, "#host#"));
    assert!(!frames.iter().any(|frame| contains(frame, "#six6#")));
    for link in ["fireactions0", me.tap.as_str()] {
        let path = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
        assert_eq!(world.host.sh(&format!("cat {path}")).trim(), "1", "{link}");
        assert_eq!(world.host.sh(&format!("ip -6 address show dev {link}")).trim(), "", "{link}");
    }
    // It is the rules: the same frame is seen when they are gone.
    world.host.sh("nft flush ruleset");
    send(&tap, &ethernet(bridge_mac(), me.mac, 0x86dd, &packet));
    sniffer.until_text("#six6#");
}

/// The first and last address of every block that is not a part of the internet: IANA's special-purpose registry (RFC 6890 and
/// what came after it), multicast, and class E with the broadcast.
const RESERVED: [(&str, &str); 16] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.31.196.0", "192.31.196.255"),
    ("192.52.193.0", "192.52.193.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
];

#[test]
fn every_reserved_block_is_closed_to_its_edges_and_what_is_beside_it_open() {
    let world = World::new();
    let (me, tap) = world.raw(0, policy());
    let mac = world.internet.sh("ip -o link show net0 | grep -o 'ether [^ ]*' | cut -d' ' -f2");
    let mac = mac.trim();
    world.host.sh(&format!(
        "ip route add default via {INTERNET}; ip neigh replace {INTERNET} lladdr {mac} dev up0"
    ));
    let (uplink, bridge) = (Sniffer::on(&world, "up0"), Sniffer::new(&world));
    let to = |address: u32, text: &str| {
        ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(me.address, address.into(), PORT, text))
    };
    let bits = |text: &str| text.parse::<Ipv4Addr>().unwrap().to_bits();
    let closed: Vec<u32> = RESERVED
        .iter()
        .map(|(first, last)| (bits(first), bits(last)))
        .flat_map(|(first, last)| [first, first + 1, first + (last - first) / 2, last - 1, last])
        .collect();
    let blocks = RESERVED.map(|(first, last)| (bits(first), bits(last)));
    let is_open = |address: &u32| !blocks.iter().any(|(first, last)| (first..=last).contains(&address));
    let beside = blocks.iter().flat_map(|(first, last)| [first.wrapping_sub(1), last.wrapping_add(1)]);
    let open: Vec<u32> = beside.filter(is_open).collect();
    assert_eq!(open.len(), 30, "{open:?}");
    // Which of them are seen there, by the time that a good frame after all of them is.
    let passed = |sniffer: &Sniffer, addresses: &[u32], last: &str| {
        sniffer.seen();
        let mut seen = Vec::new();
        for address in addresses {
            send(&tap, &to(*address, &format!("#{last}{address}#")));
            // Its socket does not hold all of them at once.
            seen.extend(sniffer.seen());
        }
        send(&tap, &to(INTERNET.to_bits(), &format!("#{last}#")));
        seen.extend(sniffer.until_text(&format!("#{last}#")));
        let was_seen = |address: &u32| {
            let text = format!("#{last}{address}#");
            seen.iter().any(|frame| contains(frame, &text))
        };
        addresses.iter().filter(|address| was_seen(address)).map(|bits| Ipv4Addr::from(*bits)).collect()
    };
    let none: Vec<Ipv4Addr> = passed(&bridge, &closed, "closed");
    assert_eq!(none, Vec::<Ipv4Addr>::new());
    let all: Vec<Ipv4Addr> = passed(&uplink, &open, "open");
    assert_eq!(all.len(), open.len(), "only these passed: {all:?}");
    // It is the rules: without them the host's own routing gets them all.
    world.host.sh("nft flush ruleset");
    let all: Vec<Ipv4Addr> = passed(&bridge, &closed, "flushed");
    assert_eq!(all.len(), closed.len(), "only these passed: {all:?}");
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
    let from_host = udp(&world.host, Ipv4Addr::UNSPECIFIED, 0, LONG);
    let attacked = |label: &str| {
        arrived(&b_tap);
        attack(&a_tap, &a, &b);
        from_host.send_to(b"#host#", (b.address, 9)).unwrap();
        let frames = receive(&b_tap, &format!("{label}: #host#"), |frame| contains(frame, "#host#"));
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
    let socket = udp(&world.host, Ipv4Addr::UNSPECIFIED, 0, LONG);
    socket.send_to(b"#secret#", (b.address, 9)).unwrap();
    socket.send_to(b"#mine#", (a.address, 9)).unwrap();
    // The ARP request for a is answered by hand.
    let mut frames = receive(&a_tap, "the question for a's MAC", |frame| frame[12..14] == [8, 6]);
    send(&a_tap, &ethernet(bridge_mac(), a.mac, 0x0806, &arp(2, a.mac, a.address, world.network.gateway())));
    frames.extend(receive(&a_tap, "#mine#", |frame| contains(frame, "#mine#")));
    assert!(!frames.iter().any(|frame| contains(frame, "#secret#")));
}

#[test]
fn a_tap_without_an_owner_is_mute() {
    let world = World::new();
    let (me, tap) = world.raw(0, policy());
    let sniffer = Sniffer::new(&world);
    let frame = |text: &str| {
        ethernet(bridge_mac(), me.mac, 0x0800, &ipv4_udp(me.address, world.network.gateway(), PORT, text))
    };
    send(&tap, &frame("#before#"));
    sniffer.until_text("#before#");
    // On the bridge, up, named like ours, but never attached.
    world.host.sh("ip tuntap add famstranger0 mode tap; ip link set famstranger0 master fireactions0; \
         ip link set famstranger0 up");
    let stranger = world.host.run(|| open_tap("famstranger0"));
    world.await_carrier("famstranger0");
    send(&stranger, &frame("#stranger#"));
    send(&tap, &frame("#after#"));
    assert!(!sniffer.until_text("#after#").iter().any(|frame| contains(frame, "#stranger#")));
    assert_eq!(Network::tap_name(&me.machine).len(), 13);
}
