//! A stream of this session in the hands of who has opened it.

use std::sync::Arc;

use super::error::LinkError;
use super::flow::{End, StreamIn, Use};
use super::state::{Connected, Packet, Shared, State};
use crate::limits::{CHUNK, MAX_STREAMS, STREAM_WINDOW};
use crate::tail::Tail;
use crate::{HostMsg, Stream};

/// Owns an open stream; dropping it tells the guest that nobody is interested any more.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) connected: Connected,
    pub(super) id: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.update(|state| state.close_stream(self.connected.session, self.id));
        self.shared.due.notify_one();
    }
}

impl State {
    /// Forgets a stream of this session.
    fn close_stream(&mut self, session: u64, id: u32) {
        let ours = self.streams.get(&id).is_some_and(|stream| stream.session == session);
        if !ours {
            return;
        }
        if let Some(stream) = self.streams.remove(&id)
            && stream.end.is_none()
            && session == self.session
        {
            self.resets.push(id);
            self.grace += STREAM_WINDOW;
        }
    }

    /// A stream of this session that has not ended.
    pub(super) fn stream(&mut self, session: u64, id: u32) -> Option<&mut StreamIn> {
        self.streams.get_mut(&id).filter(|stream| stream.session == session)
    }
}

impl Handle {
    /// Opens a stream on the present connection, or waits for one.
    pub(super) async fn open(shared: &Arc<Shared>, carries: Use) -> Result<Handle, LinkError> {
        let connected = shared.connected().await?;
        let session = connected.session;
        let id = shared.update(|state| {
            if state.session != session || state.connected.is_none() {
                return Err(LinkError::Disconnected);
            }
            if state.streams.len() >= MAX_STREAMS {
                let what = "the number of file copies and execs at once".to_owned();
                return Err(LinkError::TooLarge { what, limit: MAX_STREAMS as u64 });
            }
            let id = state.next_stream;
            state.next_stream = id.checked_add(1).ok_or(LinkError::Disconnected)?;
            let stream = StreamIn {
                session,
                carries,
                tail: Tail::default(),
                credited: 0,
                sent: 0,
                credit: 0,
                end: None,
            };
            state.streams.insert(id, stream);
            Ok(id)
        })?;
        Ok(Handle { shared: Arc::clone(shared), connected, id })
    }

    pub(super) async fn say(&self, message: &HostMsg) -> Result<(), LinkError> {
        self.connected.say(message).await
    }

    /// Sends bytes as the guest consumes them. False when the stream has ended.
    pub(super) async fn send(&self, data: &[u8]) -> Result<bool, LinkError> {
        send(&self.shared, &self.connected, self.id, data).await
    }

    /// The next bytes from the guest; `None` when the stream has ended and all were taken.
    pub(super) async fn receive(&self) -> Option<(Stream, Vec<u8>)> {
        let session = self.connected.session;
        let taken = self
            .shared
            .wait(|state| {
                let stream = state.stream(session, self.id);
                let Some(stream) = stream else { return Some(None) };
                match stream.tail.take(CHUNK) {
                    Some((_, which, data)) => Some(Some((which, data))),
                    None => stream.end.is_some().then_some(None),
                }
            })
            .await;
        self.shared.due.notify_one();
        taken
    }

    /// Waits for the end.
    pub(super) async fn end(&self) -> End {
        let session = self.connected.session;
        self.shared
            .wait(|state| match state.stream(session, self.id) {
                Some(stream) => stream.end.clone(),
                None => Some(End::Cut),
            })
            .await
    }
}

/// See [`Handle::send`]; also for a task that does not own the stream.
pub(super) async fn send(
    shared: &Shared,
    connected: &Connected,
    id: u32,
    mut data: &[u8],
) -> Result<bool, LinkError> {
    while !data.is_empty() {
        let room = shared
            .wait(|state| {
                let Some(stream) = state.stream(connected.session, id) else { return Some(0) };
                if stream.end.is_some() {
                    return Some(0);
                }
                let room = STREAM_WINDOW.saturating_sub(stream.sent - stream.credit);
                let take = CHUNK.min(data.len()).min(usize::try_from(room).unwrap_or(CHUNK));
                (take > 0).then(|| {
                    stream.sent += take as u64;
                    take
                })
            })
            .await;
        if room == 0 {
            return Ok(false);
        }
        let (now, later) = data.split_at(room);
        let packet = Box::new(Packet::Data(id, now.to_vec()));
        connected.packets.send(packet).await.map_err(|_| LinkError::Disconnected)?;
        data = later;
    }
    Ok(true)
}
