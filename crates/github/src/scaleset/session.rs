//! A session: the right to read a scale set's messages, which one at a time has.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::Secret;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;
use url::Url;

use super::message::{Message, MessageId, RequestId, Statistics, read};
use super::service::{Service, address, failure, request};
use super::set::SETS;
use super::{ScaleSetId, ScaleSets};
use crate::Error;
use crate::transport::Response;

/// A question stays open for some 50 seconds.
const POLL: Duration = Duration::from_secs(75);
/// A question that broke is asked again so often.
const TRIES: u32 = 4;

/// An open session. Dropping it leaves it open at GitHub, which misses it after some minutes; [`Session::close`] is for
/// an end in peace.
pub struct Session {
    service: Arc<Service>,
    set: ScaleSetId,
    id: String,
    queue: Queue,
    statistics: Statistics,
    /// The last message that was acknowledged.
    last: Option<MessageId>,
}

struct Queue {
    url: Url,
    token: Secret,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(of scale set {})", self.set)
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "sessionId")]
    id: String,
    #[serde(rename = "messageQueueUrl")]
    url: String,
    #[serde(rename = "messageQueueAccessToken")]
    token: String,
    #[serde(default)]
    statistics: Option<Statistics>,
}

impl Wire {
    fn queue(&self, response: &Response) -> Result<Queue, Error> {
        let why = "it names no address that credentials are sent to".to_owned();
        let url = address(&self.url).ok_or(Error::Unexpected { doing: response.doing.clone(), why })?;
        Ok(Queue { url, token: Secret::new(self.token.clone()) })
    }
}

impl ScaleSets {
    /// Opens the set's session, under this name.
    ///
    /// # Errors
    ///
    /// [`Error::SessionConflict`]: another has it.
    pub async fn open_session(&self, set: ScaleSetId, owner: &str) -> Result<Session, Error> {
        let doing = format!("listen to scale set {set} of {}", self.service.scope);
        let path = format!("{SETS}/{set}/sessions");
        let body = json!({"ownerName": owner});
        let response = self.service.call(doing.clone(), Method::POST, &path, &[], Some(body)).await?;
        if response.status == StatusCode::CONFLICT {
            return Err(Error::SessionConflict { doing, message: response.message() });
        }
        if !response.status.is_success() {
            return Err(failure(&response));
        }
        let wire: Wire = response.json("a session")?;
        let queue = wire.queue(&response)?;
        // It becomes part of paths.
        let plain = wire.id.len() <= 64 && wire.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !plain || wire.id.is_empty() {
            return Err(Error::Unexpected { doing, why: "the session's id is none".into() });
        }
        Ok(Session {
            service: Arc::clone(&self.service),
            set,
            id: wire.id,
            queue,
            statistics: wire.statistics.unwrap_or_default(),
            last: None,
        })
    }
}

impl Session {
    /// How the set stood when it was last told.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} of scale set {} of {}", self.set, self.service.scope)
    }

    /// The next message that was not acknowledged; `None` when there was none for a while. `capacity` is how many runners
    /// there may be in all. Cancel-safe: a message that was not acknowledged comes again.
    ///
    /// # Errors
    ///
    /// As every call. After an error the session is of no use any more.
    pub async fn next(&mut self, capacity: u32) -> Result<Option<Message>, Error> {
        let (mut tries, mut refreshed, mut pause) = (0, false, self.service.pause());
        loop {
            match self.ask(capacity).await {
                Ok(response) if response.status == StatusCode::ACCEPTED => return Ok(None),
                Ok(response) if response.status == StatusCode::OK => {
                    let message = read(&response, self.statistics)?;
                    self.statistics = message.statistics;
                    return Ok(Some(message));
                }
                Ok(response) if response.status == StatusCode::UNAUTHORIZED && !refreshed => {
                    refreshed = true;
                    self.refresh().await?;
                    continue;
                }
                Ok(response) => {
                    let error = failure(&response);
                    tries += 1;
                    if !error.is_transient() || tries >= TRIES {
                        return Err(error);
                    }
                    pause = pause.max(error.retry_after().unwrap_or_default());
                }
                Err(error) => {
                    tries += 1;
                    if !error.is_transient() || tries >= TRIES {
                        return Err(error);
                    }
                }
            }
            sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
            pause *= 2;
        }
    }

    async fn ask(&self, capacity: u32) -> Result<Response, Error> {
        let mut url = self.queue.url.clone();
        if let Some(last) = self.last {
            url.query_pairs_mut().append_pair("lastMessageId", &last.0.to_string());
        }
        let doing = self.doing("wait for messages");
        let mut question = request(doing, Method::GET, url, &self.queue.token, None);
        question.headers.push(("X-ScaleSetMaxCapacity", capacity.to_string()));
        question.deadline = POLL;
        self.service.send(question).await
    }

    /// Gets another token for the queue.
    async fn refresh(&mut self) -> Result<(), Error> {
        let doing = self.doing("renew the session");
        let path = format!("{SETS}/{}/sessions/{}", self.set, self.id);
        let response = self.service.call(doing, Method::PATCH, &path, &[], None).await?;
        if !response.status.is_success() {
            return Err(failure(&response));
        }
        let wire: Wire = response.json("a session")?;
        self.queue = wire.queue(&response)?;
        Ok(())
    }

    /// The message is dealt with; it does not come again.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn acknowledge(&mut self, id: MessageId) -> Result<(), Error> {
        let doing = self.doing("acknowledge a message");
        let mut again = false;
        loop {
            let mut url = self.queue.url.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().push(&id.0.to_string());
            }
            let response = self
                .service
                .send(request(doing.clone(), Method::DELETE, url, &self.queue.token, None))
                .await?;
            match response.status {
                status if status.is_success() => break,
                // It was acknowledged before, and the answer was lost.
                StatusCode::NOT_FOUND => break,
                StatusCode::UNAUTHORIZED if !again => {
                    again = true;
                    self.refresh().await?;
                }
                _ => return Err(failure(&response)),
            }
        }
        self.last = Some(self.last.map_or(id, |last| last.max(id)));
        Ok(())
    }

    /// Takes available jobs for the set; gives those that it got.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn acquire(&mut self, jobs: &[RequestId]) -> Result<Vec<RequestId>, Error> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            value: Vec<RequestId>,
        }
        let doing = self.doing("acquire jobs");
        let path = format!("{SETS}/{}/acquirejobs", self.set);
        let ids: Vec<u64> = jobs.iter().map(|job| job.get()).collect();
        let mut again = false;
        loop {
            let url = self.service.address(&path, &doing).await?;
            let body = Some(json!(ids));
            let response =
                self.service.send(request(doing.clone(), Method::POST, url, &self.queue.token, body)).await?;
            match response.status {
                status if status.is_success() => {
                    return Ok(response.json::<Body>("a list of acquired jobs")?.value);
                }
                StatusCode::UNAUTHORIZED if !again => {
                    again = true;
                    self.refresh().await?;
                }
                _ => return Err(failure(&response)),
            }
        }
    }

    /// Ends the session, so that another can have one at once.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn close(self) -> Result<(), Error> {
        let doing = self.doing("end the session");
        let path = format!("{SETS}/{}/sessions/{}", self.set, self.id);
        let response = self.service.call(doing, Method::DELETE, &path, &[], None).await?;
        match response.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Ok(()),
            _ => Err(failure(&response)),
        }
    }
}
