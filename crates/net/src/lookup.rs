//! Whose tap it is, for those who may not wait for the server's own tasks.

use std::io;

use fireactions_model::MachineId;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::sys::constants::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use crate::link::Link;
use crate::port::tap_name;

/// Whether the machine has its tap on this bridge, in the network namespace of the calling thread. The kernel answers at once;
/// one that does not answer has none.
pub fn has_tap(machine: &MachineId, bridge: &str) -> bool {
    let Ok(Some(tap)) = find(&tap_name(machine)) else { return false };
    let bridge = nix::net::if_::if_nametoindex(bridge).ok();
    bridge.is_some() && tap.bridge == bridge
}

fn find(name: &str) -> io::Result<Option<Link>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    let mut wanted = LinkMessage::default();
    wanted.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(wanted));
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    Ok(match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Some(Link::from(link)),
        _ => None,
    })
}
