//! A session: the right to read a scale set's messages, which one at a time has.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fireactions_http::Response;
use fireactions_model::Secret;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::message::{Message, MessageId, RequestId, Statistics, or_default, read};
use super::service::{Service, address, failure};
use super::set::SETS;
use super::{ScaleSetId, ScaleSets};
use crate::Error;
use crate::caller::{Call, Signed, Signer};
use crate::response::Meaning as _;

/// A question stays open for some 50 seconds.
const POLL: Duration = Duration::from_secs(75);

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
    statistics: Value,
}

impl Wire {
    fn queue(&self, response: &Response) -> Result<Queue, Error> {
        let why = "it names no address to which credentials may be sent".to_owned();
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
            return Err(Error::Unexpected { doing, why: "the session's id is not valid".into() });
        }
        Ok(Session {
            service: Arc::clone(&self.service),
            set,
            id: wire.id,
            queue,
            statistics: Statistics::read(&wire.statistics, Statistics::default()),
            last: None,
        })
    }
}

impl ScaleSets {
    /// Ends a session whose holder is gone, by its id: another can have one at once. One that is not there is ended.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn end_session(&self, set: ScaleSetId, id: &str) -> Result<(), Error> {
        end(&self.service, set, id).await
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
        let until = self.service.caller().deadline() + POLL;
        let response = self.ask(Question::Next(capacity), until).await?;
        match response.status {
            StatusCode::ACCEPTED => Ok(None),
            StatusCode::OK => {
                let message = read(&response, self.statistics)?;
                self.statistics = message.statistics;
                Ok(Some(message))
            }
            _ => Err(failure(&response)),
        }
    }

    /// The message is dealt with; it does not come again.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn acknowledge(&mut self, id: MessageId) -> Result<(), Error> {
        let until = self.service.caller().deadline();
        let response = self.ask(Question::Acknowledge(id), until).await?;
        // When it is not found, it was acknowledged before, and the answer was lost.
        if !response.status.is_success() && response.status != StatusCode::NOT_FOUND {
            return Err(failure(&response));
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
            #[serde(default, deserialize_with = "or_default")]
            value: Vec<RequestId>,
        }
        let until = self.service.caller().deadline();
        let response = self.ask(Question::Acquire(jobs), until).await?;
        if !response.status.is_success() {
            return Err(failure(&response));
        }
        Ok(response.json::<Body>("a list of acquired jobs")?.value)
    }

    async fn ask(&mut self, question: Question<'_>, until: Instant) -> Result<Response, Error> {
        let service = self.service.clone();
        service.caller().ask_until(ByQueue { session: self, question }, until).await
    }

    /// Gets another token for the queue.
    async fn refresh(&mut self, until: Instant) -> Result<(), Error> {
        let doing = self.doing("renew the session");
        let path = format!("{SETS}/{}/sessions/{}", self.set, self.id);
        let response = self.service.call_until(doing, Method::PATCH, &path, &[], None, until).await?;
        if !response.status.is_success() {
            return Err(failure(&response));
        }
        let wire: Wire = response.json("a session")?;
        self.queue = wire.queue(&response)?;
        Ok(())
    }

    /// Its id: what [`ScaleSets::end_session`] takes. It lets nobody do anything by itself.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Ends the session, so that another can have one at once.
    ///
    /// # Errors
    ///
    /// As every call: [`Error`].
    pub async fn close(self) -> Result<(), Error> {
        end(&self.service, self.set, &self.id).await
    }
}

async fn end(service: &Service, set: ScaleSetId, id: &str) -> Result<(), Error> {
    let doing = format!("end the session of scale set {set} of {}", service.scope);
    let path = format!("{SETS}/{set}/sessions/{id}");
    let response = service.call(doing, Method::DELETE, &path, &[], None).await?;
    match response.status {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND => Ok(()),
        _ => Err(failure(&response)),
    }
}

/// What is asked with the queue's token.
#[derive(Clone, Copy)]
enum Question<'a> {
    Next(u32),
    Acknowledge(MessageId),
    Acquire(&'a [RequestId]),
}

/// Signs with the queue's token.
struct ByQueue<'a> {
    session: &'a mut Session,
    question: Question<'a>,
}

impl Signer for ByQueue<'_> {
    async fn sign(&mut self, until: Instant) -> Result<Signed, Error> {
        let session = &self.session;
        let mut url = session.queue.url.clone();
        let call = match self.question {
            Question::Next(capacity) => {
                if let Some(last) = session.last {
                    url.query_pairs_mut().append_pair("lastMessageId", &last.0.to_string());
                }
                let call = Service::to(session.doing("wait for messages"), Method::GET, url, None);
                let headers = vec![("X-ScaleSetMaxCapacity", capacity.to_string())];
                Call { headers, poll: Some(POLL), ..call }
            }
            Question::Acknowledge(id) => {
                if let Ok(mut path) = url.path_segments_mut() {
                    path.pop_if_empty().push(&id.0.to_string());
                }
                Service::to(session.doing("acknowledge a message"), Method::DELETE, url, None)
            }
            // At the service, though with the queue's token.
            Question::Acquire(jobs) => {
                let doing = session.doing("acquire jobs");
                let path = format!("{SETS}/{}/acquirejobs", session.set);
                let url = session.service.address(&path, &doing, until).await?;
                let ids: Vec<u64> = jobs.iter().map(|job| job.get()).collect();
                Service::to(doing, Method::POST, url, Some(json!(ids)))
            }
        };
        Ok(session.service.signed(call, &session.queue.token))
    }

    async fn renew(&mut self, _: &Response, until: Instant) -> Result<(), Error> {
        self.session.refresh(until).await
    }
}
