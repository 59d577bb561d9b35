//! Deleting a link without waiting longer than it takes.
//!
//! The kernel takes a link off its lists and tells the listeners within a millisecond. After that it keeps the
//! caller for ten to twenty more, until readers of the old lists are done (`rcu_barrier` in `netdev_run_todo`,
//! net/core/dev.c), which concerns nobody but itself. So the request is made on a thread that may wait, and the
//! notice of the link's end is the answer: its name, its place on the bridge and its index are free from then on.

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::constants::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use crate::NetError;
use crate::link::{DEADLINE, failed};

/// Deletes a link; one that is gone already is as good.
pub(crate) async fn delete(name: &str, index: u32) -> Result<(), NetError> {
    let unopened = |error| failed("listen for the end of", name, &error);
    let (connection, _handle, mut notices) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).map_err(unopened)?;
    let connection = tokio::spawn(connection);
    let asked = name.to_owned();
    let request = tokio::task::spawn_blocking(move || ask(&asked, index));
    let gone = async {
        while let Some((notice, _)) = notices.next().await {
            if is_end_of(&notice, index) {
                return;
            }
        }
        // Notices were lost (a full socket buffer): the request's own answer must do.
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        () = gone => Ok(()),
        answer = request => answer.unwrap_or_else(|error| Err(NetError::Interrupted(error.to_string()))),
        () = tokio::time::sleep(DEADLINE) => {
            Err(NetError::Timeout { action: "the kernel (rtnetlink)", seconds: DEADLINE.as_secs() })
        }
    };
    connection.abort();
    result
}

/// Asks the kernel on this thread, and waits until it is through.
fn ask(name: &str, index: u32) -> Result<(), NetError> {
    let failed = |error: &dyn std::error::Error| failed("delete", name, error);
    let mut link = LinkMessage::default();
    link.header.index = index;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::DelLink(link));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    // The kernel has answered when the request is sent.
    let answer = || {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.send(&bytes, 0)?;
        socket.recv_from_full()
    };
    let (answer, _) = answer().map_err(|error| failed(&error))?;
    let answer =
        NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(|error| failed(&error))?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() && -error.raw_code() != libc::ENODEV => {
            Err(failed(&error.to_io()))
        }
        _ => Ok(()),
    }
}

/// A port that leaves its bridge is told in the same way, but of the bridge's address family.
fn is_end_of(notice: &NetlinkMessage<RouteNetlinkMessage>, index: u32) -> bool {
    matches!(
        &notice.payload,
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
            if link.header.index == index && link.header.interface_family == AddressFamily::Unspec
    )
}
