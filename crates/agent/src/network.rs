//! Loopback up; MAC, address, MTU and default route on the first network interface. Over rtnetlink: the image need not
//! have `ip`, and the kernel need not have `IP_PNP`.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use fireactions_guest_proto::Identity;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The interface is there as soon as its driver is.
const INTERFACE_DEADLINE: Duration = Duration::from_secs(10);

/// Loopback's index in every network namespace.
const LOOPBACK: u32 = 1;

/// Sets up the network. The address 0.0.0.0 says that this machine has none but loopback.
pub(crate) fn configure(identity: &Identity) -> Result<(), String> {
    let mut netlink = Netlink::open().map_err(|error| format!("cannot open a netlink socket: {error}"))?;
    netlink.up(LOOPBACK, None).map_err(|error| format!("cannot bring up lo: {error}"))?;
    if identity.address.is_unspecified() {
        return Ok(());
    }
    let (name, index) = first_interface()?;
    let step = |what: &str, result: io::Result<()>| {
        result.map_err(|error| format!("{name}: cannot {what}: {error}"))
    };
    if let Some(mac) = identity.mac
        && own_mac(&name) != Some(mac)
    {
        // Not every driver can change it while the interface is up.
        step("take it down", netlink.down(index))?;
        step("set its MAC address", netlink.mac(index, mac))?;
    }
    step("bring it up", netlink.up(index, identity.mtu))?;
    let v4 = (identity.address.into(), identity.prefix, identity.gateway.into());
    let v6 = identity.ipv6.map(|ipv6| (ipv6.address.into(), ipv6.prefix, ipv6.gateway.into()));
    for (address, prefix, gateway) in [Some(v4), v6].into_iter().flatten() {
        step(&format!("set the address {address}/{prefix}"), netlink.address(index, address, prefix))?;
        step(&format!("set the default route through {gateway}"), netlink.default_route(index, gateway))?;
    }
    Ok(())
}

/// The network card with the lowest index.
fn first_interface() -> Result<(String, u32), String> {
    let end = Instant::now() + INTERFACE_DEADLINE;
    loop {
        if let Some((index, name)) = first_card(Path::new("/sys/class/net")) {
            return Ok((name, index));
        }
        if Instant::now() >= end {
            return Err(
                "there is no network interface; check the VM's network device and that the initramfs holds \
                        the virtio_net module"
                    .to_owned(),
            );
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same of those in `class` now. Kernels with bonding or dummy interfaces built in make some at boot, which are Ethernet to
/// all who look, and first: only a card has a device.
fn first_card(class: &Path) -> Option<(u32, String)> {
    let cards = std::fs::read_dir(class).into_iter().flatten().flatten().filter_map(|entry| {
        let number = |file| std::fs::read_to_string(entry.path().join(file)).ok()?.trim().parse::<u32>().ok();
        // ARPHRD_ETHER
        let is_card = number("type")? == 1 && entry.path().join("device").exists();
        is_card.then_some((number("ifindex")?, entry.file_name().into_string().ok()?))
    });
    cards.min()
}

/// The MAC address that the interface has now.
fn own_mac(name: &str) -> Option<[u8; 6]> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/address")).ok()?;
    let bytes: Vec<u8> =
        text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    fn up(&mut self, index: u32, mtu: Option<u16>) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes.extend(mtu.map(|mtu| LinkAttribute::Mtu(u32::from(mtu))));
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    fn down(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    fn mac(&mut self, index: u32, mac: [u8; 6]) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::Address(mac.to_vec()));
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    fn address(&mut self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        message.attributes.push(match address {
            IpAddr::V4(address) => {
                let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                AddressAttribute::Broadcast((u32::from(address) | host_bits).into())
            }
            // Of use at once: nobody else can have it.
            IpAddr::V6(_) => AddressAttribute::Flags(AddressFlags::Nodad),
        });
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn default_route(&mut self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let mut route = RouteMessage::default();
        route.header.address_family = family(gateway);
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Boot;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        let gateway = match gateway {
            IpAddr::V4(gateway) => RouteAddress::Inet(gateway),
            IpAddr::V6(gateway) => RouteAddress::Inet6(gateway),
        };
        route.attributes = vec![RouteAttribute::Gateway(gateway), RouteAttribute::Oif(index)];
        self.request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Sends one request and waits for the kernel's verdict, which comes before `send` returns.
    fn request(&mut self, payload: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence += 1;
        let mut message = NetlinkMessage::from(payload);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let (answer, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(io::Error::other("the kernel's answer is no verdict")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_card_is_taken_whatever_the_kernel_makes_before_it() {
        let class = tempfile::tempdir().unwrap();
        let link = |name: &str, kind: u32, index: u32, is_card: bool| {
            let dir = class.path().join(name);
            std::fs::create_dir_all(dir.join(if is_card { "device" } else { "queues" })).unwrap();
            std::fs::write(dir.join("type"), format!("{kind}\n")).unwrap();
            std::fs::write(dir.join("ifindex"), format!("{index}\n")).unwrap();
        };
        link("lo", 772, 1, false);
        link("bond0", 1, 2, false);
        assert_eq!(first_card(class.path()), None);
        link("eth1", 1, 10, true);
        link("eth0", 1, 9, true);
        link("wwan0", 65534, 3, true);
        assert_eq!(first_card(class.path()), Some((9, "eth0".to_owned())));
    }
}
