//! What the server says, over restarts of the server.

use std::time::Duration;

use fireactions_api::{Client, ClientStream, LiveDelta, LiveEvent, LiveSnapshot, MachineUsage};
use fireactions_model::ExponentialBackoff;
use futures::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// The server says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(40);
/// Between two questions what machines use.
const USAGE: Duration = Duration::from_secs(2);

/// What was heard.
#[derive(Debug)]
pub(super) enum News {
    /// Everything.
    Snapshot(Box<LiveSnapshot>),
    /// What has changed.
    Delta(Box<LiveDelta>),
    /// Nothing has.
    Same,
    /// What machines use.
    Usage(Vec<MachineUsage>),
    /// The server is not heard any more; why, for people.
    Lost(String),
}

/// Nobody listens any more.
struct Gone;

/// Follows the server until nobody listens. `first` is the first connection.
pub(super) async fn follow(client: Client, first: ClientStream<LiveEvent>, to: Sender<News>) {
    let mut pauses = ExponentialBackoff::new(Duration::from_millis(500), Duration::from_secs(15));
    let mut connected = Some(first);
    loop {
        let opened = match connected.take() {
            Some(first) => Ok(first),
            None => client.live().await,
        };
        let why = match opened {
            Ok(events) => match listen(&client, events, &to, &mut pauses).await {
                Ok(why) => why,
                Err(Gone) => return,
            },
            Err(error) => error.to_string(),
        };
        if to.send(News::Lost(why)).await.is_err() {
            return;
        }
        sleep(pauses.failed(rand::random())).await;
    }
}

/// Passes on what one connection brings. Gives why it ended.
async fn listen(
    client: &Client,
    mut events: ClientStream<LiveEvent>,
    to: &Sender<News>,
    pauses: &mut ExponentialBackoff,
) -> Result<String, Gone> {
    let mut revision = None;
    let mut ask = interval(USAGE);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = timeout(SILENCE, events.next()) => event,
            _ = ask.tick(), if revision.is_some() => {
                // A server of before does not know; then it is not shown.
                if let Ok(usage) = client.usage().await {
                    to.send(News::Usage(usage)).await.map_err(|_| Gone)?;
                }
                continue;
            }
        };
        let news = match event {
            Err(_) => return Ok(format!("the server has said nothing for {SILENCE:?}")),
            Ok(None) => return Ok("the server has ended the connection".to_owned()),
            Ok(Some(Err(error))) => return Ok(error.to_string()),
            Ok(Some(Ok(LiveEvent::Snapshot(snapshot)))) => {
                pauses.succeeded();
                revision = Some(snapshot.revision);
                News::Snapshot(snapshot)
            }
            Ok(Some(Ok(LiveEvent::Delta(delta)))) => {
                if Some(delta.revision) != revision.map(|revision| revision + 1) {
                    return Ok("a change was missed".to_owned());
                }
                revision = Some(delta.revision);
                News::Delta(delta)
            }
            Ok(Some(Ok(LiveEvent::Ping(ping)))) => {
                if revision.is_some_and(|revision| revision != ping.revision) {
                    return Ok("a change was missed".to_owned());
                }
                News::Same
            }
        };
        to.send(news).await.map_err(|_| Gone)?;
    }
}
