//! `/api/v1/images`.

use fireactions_model::Digest;
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;

use super::{Client, ClientStream, Result, sse};
use crate::{GcReport, GcRequest, ImageView, PullEvent, PullRequest, Removed};

impl Client {
    /// Images in the store.
    pub async fn images(&self) -> Result<Vec<ImageView>> {
        self.json(self.get("/api/v1/images")).await
    }

    /// Pulls an image and tells how it goes. The last event is `Ready`; an end without it means that the server
    /// closed.
    pub async fn pull_image(&self, request: &PullRequest) -> Result<ClientStream<PullEvent>> {
        let answer = self.send(self.post("/api/v1/images/pull").json(request)).await?;
        let client = self.clone();
        let events = sse::read(self, answer).try_filter_map(move |message| {
            let event = match message.name.as_str() {
                "progress" => serde_json::from_str(&message.data).map(Some),
                _ => Ok(None),
            };
            let unreadable = |error| client.protocol(format!("progress that cannot be read: {error}"));
            std::future::ready(event.map_err(unreadable))
        });
        Ok(events.boxed())
    }

    /// Removes an image by name or digest prefix.
    pub async fn remove_image(&self, what: &str) -> Result<Vec<Digest>> {
        let request = self.request(Method::DELETE, "/api/v1/images").query(&[("image", what)]);
        self.json::<Removed>(request).await.map(|answer| answer.removed)
    }

    /// Removes images that nothing uses.
    pub async fn gc_images(&self, request: &GcRequest) -> Result<GcReport> {
        self.json(self.post("/api/v1/images/gc").json(request)).await
    }
}
