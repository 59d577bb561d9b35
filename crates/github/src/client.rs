//! The client.

use std::sync::Arc;

use fireactions_model::RateLimit;
use url::Url;

use crate::auth::Auth;
use crate::caller::Caller;
use crate::{Error, Settings, Timeouts};

/// One GitHub, as its credentials see it. Clones share connections, tokens and limits.
#[derive(Clone)]
pub struct Github {
    inner: Arc<Inner>,
}

struct Inner {
    caller: Arc<Caller>,
    auth: Auth,
    /// The REST API's base.
    api: Url,
    /// Where people see it.
    page: Url,
}

impl std::fmt::Debug for Github {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Github({})", self.inner.page)
    }
}

impl Github {
    /// Nothing is asked of GitHub and no secret is read before the first call.
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
        let api = settings.api()?;
        let caller = Arc::new(Caller::new(&settings, timeouts)?);
        let auth = Auth::new(caller.clone(), api.clone(), settings.credentials)?;
        Ok(Self { inner: Arc::new(Inner { caller, auth, api, page: settings.url }) })
    }

    /// Where people see it.
    pub fn page(&self) -> &Url {
        &self.inner.page
    }

    /// The page of a run, for people.
    pub fn run_page(&self, repository: &crate::Repository, run: crate::RunId) -> String {
        let mut page = self.inner.page.clone();
        if let Ok(mut path) = page.path_segments_mut() {
            path.pop_if_empty().extend([repository.owner(), repository.name(), "actions", "runs"]);
            path.push(&run.to_string());
        }
        page.into()
    }

    /// Rate limits, as GitHub last told them: for gauges.
    pub fn limits(&self) -> Vec<RateLimit> {
        self.inner.caller.limits.all()
    }

    /// Requests sent since the start, those to the Actions service among them.
    pub fn calls(&self) -> u64 {
        self.inner.caller.sent()
    }

    /// The REST API's base, with a slash at the end.
    pub(crate) fn api(&self) -> &Url {
        &self.inner.api
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.inner.auth
    }
}
