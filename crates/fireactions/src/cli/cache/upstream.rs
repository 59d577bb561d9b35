//! Whether a registry answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::Method;
use fireactions_http::{Connection, Http, Request};
use fireactions_model::ExponentialBackoff;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use url::Url;

/// Between two questions, while it answers.
const INTERVAL: Duration = Duration::from_secs(30);
/// The same while it does not: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Between two questions, whoever doubts that it answers.
const LEAST: Duration = Duration::from_secs(1);
/// For an answer to somebody else, before it is doubted that there will be one.
const PATIENCE: Duration = Duration::from_secs(3);
/// For an answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most bytes of it.
const LONGEST: usize = 64 << 10;

/// Whether it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It was not asked yet.
    Unknown,
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// A registry that is looked at.
pub(super) struct Upstream {
    name: String,
    url: Url,
    http: Http,
    reach: watch::Sender<Reach>,
    doubt: Notify,
    errors: AtomicU64,
}

impl Upstream {
    /// The registry at `url`, whose address the configuration has allowed.
    pub(super) fn new(name: &str, url: &str) -> anyhow::Result<Self> {
        let url: Url = format!("{url}/v2/").parse()?;
        let http = Http::new(&Connection { insecure_http: true, ..Connection::new(&url) })?;
        let (reach, doubt, errors) = (watch::Sender::new(Reach::Unknown), Notify::new(), AtomicU64::new(0));
        Ok(Self { name: name.to_owned(), url, http, reach, doubt, errors })
    }

    pub(super) fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.subscribe()
    }

    pub(super) fn is_down(&self) -> bool {
        *self.reach.borrow() == Reach::Down
    }

    /// Times that it did not answer, or with an error of its own.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// An answer was not what one hopes for: it may be down. `error`: and it was the registry's.
    pub(super) fn doubt(&self, error: bool) {
        self.errors.fetch_add(error.into(), Ordering::Relaxed);
        self.doubt.notify_one();
    }

    /// Until it is known that it does not answer, which is doubted after a while.
    pub(super) async fn hangs(&self) {
        sleep(PATIENCE).await;
        self.doubt(false);
        let mut reach = self.reach();
        // Whoever waits has what tells it.
        let _ = reach.wait_for(|now| *now == Reach::Down).await;
    }

    /// Asks it again and again until all is to stop.
    pub(super) async fn watch(&self, mut stop: watch::Receiver<bool>) {
        let mut backoff = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
        loop {
            let pause = match self.ask().await {
                Ok(()) => {
                    backoff.succeeded();
                    if self.reach.send_replace(Reach::Up) == Reach::Down {
                        tracing::info!(registry = self.name, "the registry answers again");
                    }
                    ExponentialBackoff::jitter(INTERVAL, rand::random())
                }
                Err(why) => {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    if self.reach.send_replace(Reach::Down) != Reach::Down {
                        tracing::warn!(
                            registry = self.name,
                            "the registry does not answer, so that its cache serves what it has and nothing else: {why}"
                        );
                    }
                    backoff.failed(rand::random())
                }
            };
            let next = async {
                sleep(LEAST.min(pause)).await;
                tokio::select! {
                    () = sleep(pause.saturating_sub(LEAST)) => {}
                    () = self.doubt.notified() => {}
                }
            };
            tokio::select! {
                () = next => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// One that refuses, or asks who we are, answers.
    async fn ask(&self) -> Result<(), String> {
        let request = Request {
            doing: "ask the registry".to_owned(),
            method: Method::GET,
            url: self.url.clone(),
            authorization: None,
            headers: Vec::new(),
            body: None,
            deadline: DEADLINE,
            max_body: LONGEST,
        };
        match self.http.send(request).await {
            Ok(answer) if answer.status.is_server_error() => Err(format!("it answered {}", answer.status)),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
