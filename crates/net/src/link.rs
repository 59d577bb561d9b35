//! Links and addresses, by rtnetlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{
    InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkUnspec};
use tokio::task::JoinHandle;

use crate::NetError;
use crate::config::address_of_bridge;

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to the kernel's routing tables, in the network namespace of the thread that made it.
pub(crate) struct Links {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What we need to know of a link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) bridge: Option<u32>,
    pub(crate) mtu: u32,
    pub(crate) group: u32,
    /// Somebody has it open: a VMM, of a tap.
    pub(crate) is_open: bool,
    kind: Option<InfoKind>,
    mac: Vec<u8>,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            bridge: None,
            mtu: 0,
            group: 0,
            is_open: message.header.flags.contains(LinkFlags::LowerUp),
            kind: None,
            mac: Vec::new(),
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Controller(index) => link.bridge = Some(index),
                LinkAttribute::Address(mac) => link.mac = mac,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.into_iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        link
    }
}

impl Links {
    pub(crate) fn connect() -> Result<Self, NetError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| NetError::Link {
            action: "open netlink for",
            name: "routing tables".into(),
            reason: error.to_string(),
        })?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    pub(crate) async fn find(&self, name: &str) -> Result<Option<Link>, NetError> {
        let answer = async {
            match self.handle.link().get().match_name(name).execute().try_next().await {
                Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
                other => other,
            }
        };
        Ok(within("look up", name, answer).await?.map(Link::from))
    }

    pub(crate) async fn all(&self) -> Result<Vec<Link>, NetError> {
        let links = self.handle.link().get().execute().map_ok(Link::from).try_collect();
        within("list", "all links", links).await
    }

    /// The bridge `name`, made if need be, with this MAC; it stays down if it was new. Its index. One that is not ours is
    /// refused. Of one that had another MAC and so another address of ours, the address goes, too.
    pub(crate) async fn ensure_bridge(&self, name: &str, mac: [u8; 6]) -> Result<u32, NetError> {
        let mut found = self.find(name).await?;
        if found.is_none() {
            let bridge = LinkBridge::new(name)
                .down()
                .address(mac.to_vec())
                .set_info_data(InfoData::Bridge(vec![
                    InfoBridge::ForwardDelay(0),
                    InfoBridge::MulticastSnooping(false),
                ]))
                .build();
            within("make bridge", name, self.handle.link().add(bridge).execute()).await?;
            found = self.find(name).await?;
        }
        let Some(link) = found else {
            return Err(NetError::Link {
                action: "find bridge",
                name: name.into(),
                reason: "it was created, but it has disappeared; does another program remove it?".into(),
            });
        };
        let old = link.address_if_ours()?;
        if link.mac != mac {
            // Before the MAC, which tells whose it is.
            self.take_address(name, link.index, |address, _| address == old).await?;
            let change = LinkUnspec::new_with_index(link.index).address(mac.to_vec()).build();
            within("set the MAC of", name, self.handle.link().set(change).execute()).await?;
        }
        Ok(link.index)
    }

    /// Gives link `index` this IPv4 address. Others stay: they are not ours.
    pub(crate) async fn ensure_address(
        &self,
        name: &str,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), NetError> {
        let stale = |found, length| found == address && length != prefix;
        if self.take_address(name, index, stale).await?.contains(&(address, prefix)) {
            return Ok(());
        }
        let add = self.handle.address().add(index, address.into(), prefix).execute();
        within("give an address to", name, add).await
    }

    /// Gives link `index` this IPv6 address. Nobody is asked first whether another has it: until that is known, it is not used.
    pub(crate) async fn ensure_address6(
        &self,
        name: &str,
        index: u32,
        address: Ipv6Addr,
        prefix: u8,
    ) -> Result<(), NetError> {
        let mut add = self.handle.address().add(index, address.into(), prefix).replace();
        add.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        within("give an IPv6 address to", name, add.execute()).await
    }

    /// Takes those IPv4 addresses from link `index` of which `stale` is true; those that it keeps.
    async fn take_address(
        &self,
        name: &str,
        index: u32,
        stale: impl Fn(Ipv4Addr, u8) -> bool,
    ) -> Result<Vec<(Ipv4Addr, u8)>, NetError> {
        let now: Vec<_> = within(
            "list the addresses of",
            name,
            self.handle.address().get().set_link_index_filter(index).execute().try_collect(),
        )
        .await?;
        let mut kept = Vec::new();
        for message in now {
            let prefix = message.header.prefix_len;
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
            match address {
                Some(address) if stale(address, prefix) => {
                    within("take an old address from", name, self.handle.address().del(message).execute())
                        .await?;
                }
                Some(address) => kept.push((address, prefix)),
                None => {}
            }
        }
        Ok(kept)
    }

    /// The IPv4 addresses of link `index`, with their prefix lengths.
    pub(crate) async fn addresses(&self, name: &str, index: u32) -> Result<Vec<(Ipv4Addr, u8)>, NetError> {
        self.take_address(name, index, |_, _| false).await
    }

    /// Puts link `index` into a group.
    pub(crate) async fn group(&self, name: &str, index: u32, group: u32) -> Result<(), NetError> {
        let join =
            LinkUnspec::new_with_index(index).append_extra_attribute(LinkAttribute::Group(group)).build();
        within("set the group of", name, self.handle.link().set(join).execute()).await
    }

    /// Makes link `index` a port of `bridge`, in this group, that exchanges no frames with other such ports.
    pub(crate) async fn enslave(
        &self,
        name: &str,
        index: u32,
        bridge: u32,
        group: u32,
    ) -> Result<(), NetError> {
        let group = LinkAttribute::Group(group);
        let join = LinkUnspec::new_with_index(index).controller(bridge).append_extra_attribute(group).build();
        within("add to the bridge", name, self.handle.link().set(join).execute()).await?;
        let isolate = LinkBridgePort::new(index).isolated(true).build();
        within("isolate", name, self.handle.link().set_port(isolate).execute()).await
    }

    pub(crate) async fn up(&self, name: &str, index: u32) -> Result<(), NetError> {
        let up = LinkUnspec::new_with_index(index).up().build();
        within("bring up", name, self.handle.link().set(up).execute()).await
    }
}

impl Link {
    /// The address that we gave to this bridge; an error if it is another thing, or somebody else's.
    pub(crate) fn address_if_ours(&self) -> Result<Ipv4Addr, NetError> {
        if self.kind != Some(InfoKind::Bridge) {
            return Err(NetError::Taken { name: self.name.clone(), wanted: "bridge" });
        }
        address_of_bridge(&self.mac).ok_or_else(|| NetError::ForeignBridge {
            name: self.name.clone(),
            mac: self.mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
        })
    }

    pub(crate) fn is_tap(&self) -> bool {
        self.kind == Some(InfoKind::Tun)
    }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(-message.raw_code()),
        _ => None,
    }
}

async fn within<T>(
    action: &'static str,
    name: &str,
    work: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, NetError> {
    match tokio::time::timeout(DEADLINE, work).await {
        Err(_) => Err(NetError::Timeout { action: "the kernel (rtnetlink)", seconds: DEADLINE.as_secs() }),
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(action, name, &error)),
    }
}

pub(crate) fn failed(action: &'static str, name: &str, error: &dyn std::error::Error) -> NetError {
    NetError::Link { action, name: name.into(), reason: error.to_string() }
}
