//! Deleting a link without waiting longer than it takes.
//!
//! The kernel takes a link off its lists and tells the listeners within a millisecond. After that it keeps the
//! caller for ten to twenty more, until readers of the old lists are done (`rcu_barrier` in `netdev_run_todo`,
//! net/core/dev.c), which concerns nobody but itself. So the request is made on a thread that may wait, and the
//! notice of the link's end is the answer: its name, its place on the bridge and its index are free from then on.

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::NetError;
use crate::link::{DEADLINE, errno, failed};

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
    let unopened = |error| failed("open netlink to delete", name, &error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unopened)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(unopened)?;
        tokio::spawn(connection);
        match handle.link().del(index).execute().await {
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(()),
            other => other.map_err(|error| failed("delete", name, &error)),
        }
    })
}

/// A port that leaves its bridge is told in the same way, but of the bridge's address family.
fn is_end_of(notice: &NetlinkMessage<RouteNetlinkMessage>, index: u32) -> bool {
    matches!(
        &notice.payload,
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
            if link.header.index == index && link.header.interface_family == AddressFamily::Unspec
    )
}
