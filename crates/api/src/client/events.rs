//! `/api/v1/events`.

use fireactions_model::Event;
use futures::{StreamExt, TryStreamExt};

use super::{Client, ClientStream, Result, sse};

impl Client {
    /// Everything that happens from now on. Events that this client was too slow for are left out.
    pub async fn events(&self) -> Result<ClientStream<Event>> {
        let answer = self.send(self.get("/api/v1/events")).await?;
        let client = self.clone();
        let events = sse::read(self, answer).try_filter_map(move |message| {
            let event = match message.name.as_str() {
                "event" => serde_json::from_str(&message.data).map(Some),
                _ => Ok(None),
            };
            let unreadable = |error| client.protocol(format!("an event that cannot be read: {error}"));
            std::future::ready(event.map_err(unreadable))
        });
        Ok(events.boxed())
    }
}
