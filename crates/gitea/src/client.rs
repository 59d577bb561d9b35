//! The client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fireactions_http::{SecretSource, SingleFlight, Timeouts};
use reqwest::StatusCode;
use tokio::time::Instant;
use url::Url;

use crate::address::rest;
use crate::caller::{Call, Caller, Signed};
use crate::{Capabilities, Error, Kind, Server, Settings};

/// A server is asked for its version again after this: it may have been upgraded.
const FRESH: Duration = Duration::from_secs(3600);

/// One server, as its tokens see it. Clones share connections and what is known.
#[derive(Clone)]
pub struct Gitea {
    inner: Arc<Inner>,
}

struct Inner {
    caller: Caller,
    /// Where people see it, with a slash at the end.
    base: Url,
    registration_token: Option<SecretSource>,
    server: Mutex<Option<(Instant, Server)>>,
    asking: SingleFlight<Server, Error>,
    /// Names of repositories by their numbers.
    repositories: Mutex<HashMap<u64, String>>,
}

impl std::fmt::Debug for Gitea {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.kind(), self.inner.base)
    }
}

impl Gitea {
    /// Nothing is asked of the server and no secret is read before the first call.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`]
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Self::with_timeouts(settings, Timeouts::default())
    }

    /// The same with other times.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`]
    pub fn with_timeouts(settings: Settings, timeouts: Timeouts) -> Result<Self, Error> {
        let base = settings.base()?;
        let caller = Caller::new(&settings, timeouts)?;
        Ok(Self {
            inner: Arc::new(Inner {
                caller,
                base,
                registration_token: settings.registration_token,
                server: Mutex::default(),
                asking: SingleFlight::default(),
                repositories: Mutex::default(),
            }),
        })
    }

    /// Which forge it is.
    pub fn kind(&self) -> Kind {
        self.inner.caller.kind()
    }

    /// Where people see it, with a slash at the end.
    pub fn page(&self) -> &Url {
        &self.inner.base
    }

    /// Requests sent since the start.
    pub fn calls(&self) -> u64 {
        self.inner.caller.sent()
    }

    /// What the server is. It is asked once an hour, and after it does not have what its version should have.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Settings`] when it is the other forge.
    pub async fn server(&self) -> Result<Server, Error> {
        let known = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, server)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(server);
        }
        let doing = || "ask for the version".to_owned();
        let until = self.caller().deadline();
        self.inner.asking.run(until, || self.ask_version(doing()), || self.caller().late(doing())).await
    }

    async fn ask_version(&self, doing: String) -> Result<Server, Error> {
        #[derive(serde::Deserialize)]
        struct Wire {
            version: String,
        }
        let url = rest(self.base(), &["version"]);
        let mut call = Call { signed: Signed::No, ..Call::get(doing, url) };
        let mut response = self.caller().send(&call).await?;
        // A server can be set to tell nobody anything who has not signed in.
        let closed = matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if closed && self.caller().has_token() {
            call.signed = Signed::Token;
            response = self.caller().send(&call).await?;
        }
        if response.status != StatusCode::OK {
            return Err(self.caller().failure(&call, &response));
        }
        let wire: Wire = self.read(&response, "a version")?;
        let server = Server::read(self.kind(), &wire.version)?;
        *self.inner.server.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), server.clone()));
        Ok(server)
    }

    /// What the server can do.
    pub(crate) async fn can(&self) -> Result<(Server, Capabilities), Error> {
        let server = self.server().await?;
        let capabilities = server.capabilities();
        Ok((server, capabilities))
    }

    /// What an answer other than the expected one means. A server that does not have what its version should have is asked
    /// for its version again: it may be another by now.
    pub(crate) fn failure(&self, call: &Call, response: &fireactions_http::Response) -> Error {
        if matches!(response.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            *self.inner.server.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.caller().failure(call, response)
    }

    /// An answer's body.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(
        &self,
        response: &fireactions_http::Response,
        what: &str,
    ) -> Result<T, Error> {
        response.json(what).map_err(|error| Error::of(self.kind(), error))
    }

    pub(crate) fn base(&self) -> &Url {
        &self.inner.base
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    pub(crate) fn registration_token(&self) -> Option<&SecretSource> {
        self.inner.registration_token.as_ref()
    }

    pub(crate) fn repositories(&self) -> &Mutex<HashMap<u64, String>> {
        &self.inner.repositories
    }
}
