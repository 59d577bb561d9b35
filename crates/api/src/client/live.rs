//! `/api/v1/live`.

use futures::{StreamExt, TryStreamExt};

use super::{Client, ClientStream, Result, sse};
use crate::{LiveDelta, LivePing, LiveSnapshot};

/// What a live view says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// Everything; the first, and whenever this client was too slow for changes.
    Snapshot(Box<LiveSnapshot>),
    /// What has changed.
    Delta(Box<LiveDelta>),
    /// Nothing has.
    Ping(LivePing),
}

impl Client {
    /// The host, its pools, jobs and machines, live: see [`LiveSnapshot::apply`].
    pub async fn live(&self) -> Result<ClientStream<LiveEvent>> {
        let answer = self.send(self.get("/api/v1/live")).await?;
        let client = self.clone();
        let events = sse::read(self, answer).try_filter_map(move |message| {
            let event = match message.name.as_str() {
                "snapshot" => serde_json::from_str(&message.data).map(|it| Some(LiveEvent::Snapshot(it))),
                "delta" => serde_json::from_str(&message.data).map(|it| Some(LiveEvent::Delta(it))),
                "ping" => serde_json::from_str(&message.data).map(|it| Some(LiveEvent::Ping(it))),
                _ => Ok(None),
            };
            let unreadable = |error| client.protocol(format!("a live view that cannot be read: {error}"));
            std::future::ready(event.map_err(unreadable))
        });
        Ok(events.boxed())
    }
}
