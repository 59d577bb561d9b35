//! Messages and descriptors over a connected Unix socket: unix(7), `SCM_RIGHTS`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::message::Message;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// Most descriptors in a message; a server has five sockets.
const MAX_DESCRIPTORS: usize = 16;

/// One end of a handover.
pub(super) struct Link {
    stream: UnixStream,
    read: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, read: Vec::new(), descriptors: Vec::new() }
    }

    /// Sends a message, with descriptors that the peer gets its own of.
    pub(super) async fn send(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
        within: Duration,
    ) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(b'\n');
        let write = async {
            let mut sent = 0;
            while sent < bytes.len() {
                // Descriptors go with the first byte that gets through.
                let with = if sent == 0 { descriptors } else { &[] };
                sent += self
                    .stream
                    .async_io(Interest::WRITABLE, || send_once(&self.stream, &bytes[sent..], with))
                    .await?;
            }
            Ok(())
        };
        in_time(within, write).await
    }

    /// The next message; nothing when the peer hung up.
    pub(super) async fn receive(&mut self, within: Duration) -> io::Result<Option<Message>> {
        in_time(within, async {
            loop {
                if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.read.drain(..=end).collect();
                    return serde_json::from_slice(&line).map(Some).map_err(Into::into);
                }
                if self.read.len() > MAX_MESSAGE {
                    return Err(io::Error::other("the peer's message is too long"));
                }
                let (bytes, descriptors) =
                    self.stream.async_io(Interest::READABLE, || receive_once(&self.stream)).await?;
                if bytes.is_empty() {
                    return Ok(None);
                }
                self.read.extend(bytes);
                self.descriptors.extend(descriptors);
            }
        })
        .await
    }

    /// The descriptors that came with what was received.
    pub(super) fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

async fn in_time<T>(within: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(within, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn send_once(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

fn receive_once(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    bytes.truncate(got);
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((bytes, descriptors.flatten().collect()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn messages_and_descriptors_arrive_in_order() {
        let (one, two) = UnixStream::pair().unwrap();
        let (one, mut two) = (Link::new(one), Link::new(two));
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        one.send(&Message::Take, &[], SOON).await.unwrap();
        let given = Message::Given { sockets: vec![], manager: None };
        one.send(&given, &[theirs.as_fd()], SOON).await.unwrap();
        drop(theirs);
        assert!(matches!(two.receive(SOON).await.unwrap(), Some(Message::Take)));
        assert!(matches!(two.receive(SOON).await.unwrap(), Some(Message::Given { .. })));
        let descriptor = two.take_descriptors().remove(0);
        let mut theirs = std::os::unix::net::UnixStream::from(descriptor);
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        drop(one);
        assert!(two.receive(SOON).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_silent_or_endless_peer_is_given_up() {
        let (mut one, two) = UnixStream::pair().unwrap();
        let mut two = Link::new(two);
        let silent = two.receive(Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        let flood = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            while one.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        assert!(two.receive(SOON).await.unwrap_err().to_string().contains("too long"));
        drop(two);
        flood.await.unwrap();
    }
}
