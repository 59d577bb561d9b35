//! Who asks: which App is installed where, its tokens, and personal access tokens. What is found is kept.

mod app;
mod clock;
mod installation;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_http::{Response, SecretSource, read_secret, times};
use fireactions_model::Secret;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::address::{path, url};
use crate::caller::{Call, Caller, Signed, Signer};
use crate::response::Meaning as _;
use crate::{Credentials, Error, Scope};
use app::AppKey;
use clock::Clock;
use installation::{Held, Installation};

/// Most scopes of which it is kept who serves them; repositories are scopes too.
const MAX_SCOPES: usize = 20_000;
/// What a token counts as.
const TOKEN: &str = "token";

pub(crate) struct Auth {
    caller: Arc<Caller>,
    api: Url,
    who: Who,
}

enum Who {
    Apps(Apps),
    Token { source: SecretSource, kept: Mutex<Option<Secret>> },
}

struct Apps {
    keys: Vec<AppKey>,
    clock: Clock,
    /// Which installation serves a scope.
    scopes: Mutex<HashMap<Scope, Arc<Installation>>>,
    /// By App and number, so that scopes share tokens.
    installations: Mutex<HashMap<(usize, u64), Arc<Installation>>>,
}

/// The credential for a scope.
#[derive(Clone)]
pub(crate) struct Authorized {
    /// Whose rate limits count.
    pub(crate) label: String,
    /// The value of the `Authorization` header.
    pub(crate) header: Secret,
    installation: Option<Arc<Installation>>,
}

impl Authorized {
    /// Whether it is an App's; otherwise it is a token.
    pub(crate) fn is_app(&self) -> bool {
        self.installation.is_some()
    }
}

/// An installation, as GitHub describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct WireInstallation {
    pub(crate) id: u64,
    #[serde(default)]
    pub(crate) html_url: String,
    #[serde(default)]
    pub(crate) permissions: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) events: Vec<String>,
    #[serde(default)]
    pub(crate) repository_selection: String,
    #[serde(default)]
    pub(crate) suspended_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct WireToken {
    token: String,
    expires_at: Timestamp,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps one more, in bounds: what is forgotten is found again.
fn keep<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MAX_SCOPES && !map.contains_key(&key) {
        map.clear();
    }
    map.insert(key, value);
}

impl Auth {
    pub(crate) fn new(caller: Arc<Caller>, api: Url, credentials: Credentials) -> Result<Self, Error> {
        let who = match credentials {
            Credentials::Apps(apps) if apps.is_empty() => {
                return Err(Error::Settings("neither an App nor a token is configured".into()));
            }
            Credentials::Apps(apps) => Who::Apps(Apps {
                keys: apps.into_iter().map(AppKey::new).collect(),
                clock: Clock::default(),
                scopes: Mutex::default(),
                installations: Mutex::default(),
            }),
            Credentials::Token(source) => Who::Token { source, kept: Mutex::default() },
        };
        Ok(Self { caller, api, who })
    }

    /// The credential for a scope, found out when it is not known.
    pub(crate) async fn authorize(&self, scope: &Scope, until: Instant) -> Result<Authorized, Error> {
        let apps = match &self.who {
            Who::Token { source, kept } => {
                let known = lock(kept).clone();
                let header = if let Some(header) = known {
                    header
                } else {
                    let header = bearer(&read_secret(source, "the token").await?);
                    *lock(kept) = Some(header.clone());
                    header
                };
                return Ok(Authorized { label: TOKEN.into(), header, installation: None });
            }
            Who::Apps(apps) => apps,
        };
        let known = lock(&apps.scopes).get(scope).cloned();
        if let Some(installation) = known {
            match self.token(apps, &installation, until).await {
                // It was uninstalled, and perhaps installed again: it has another number then.
                Err(Error::NotFound { .. }) => {
                    lock(&apps.scopes).remove(scope);
                    lock(&apps.installations).remove(&(installation.app, installation.id));
                }
                other => return other,
            }
        }
        let (app, found) = self.find(apps, scope, until).await?;
        let installation = {
            let mut all = lock(&apps.installations);
            let fresh = || Arc::new(Installation::new(app, apps.keys[app].id(), found.id));
            let installation = all.get(&(app, found.id)).cloned().unwrap_or_else(fresh);
            keep(&mut all, (app, found.id), installation.clone());
            installation
        };
        keep(&mut lock(&apps.scopes), scope.clone(), installation.clone());
        self.token(apps, &installation, until).await
    }

    /// This credential serves these scopes as well.
    pub(crate) fn serves(&self, authorized: &Authorized, scopes: impl Iterator<Item = Scope>) {
        if let (Who::Apps(apps), Some(installation)) = (&self.who, &authorized.installation) {
            let mut known = lock(&apps.scopes);
            for scope in scopes.take(MAX_SCOPES) {
                keep(&mut known, scope, installation.clone());
            }
        }
    }

    /// GitHub answered 401: the next [`Self::authorize`] gives another credential if there is one.
    pub(crate) fn refused(&self, authorized: &Authorized) {
        match (&self.who, &authorized.installation) {
            (Who::Token { kept, .. }, _) => *lock(kept) = None,
            (Who::Apps(_), Some(installation)) => installation.forget(&authorized.header),
            (Who::Apps(_), None) => {}
        }
    }

    /// The first App that is installed there, by its index, and its installation.
    async fn find(
        &self,
        apps: &Apps,
        scope: &Scope,
        until: Instant,
    ) -> Result<(usize, WireInstallation), Error> {
        let mut trouble = None;
        for app in 0..apps.keys.len() {
            match self.installation(&apps.keys[app], &apps.clock, scope, until).await {
                Ok(Some(found)) if found.suspended_at.is_some() => {
                    trouble.get_or_insert(Error::Forbidden {
                        doing: format!("ask for {scope}"),
                        message: format!("the installation of App {} is suspended", apps.keys[app].id()),
                    });
                }
                Ok(Some(found)) => return Ok((app, found)),
                Ok(None) => {}
                Err(error) => {
                    trouble.get_or_insert(error);
                }
            }
        }
        Err(trouble.unwrap_or_else(|| {
            let ids: Vec<&str> = apps.keys.iter().map(AppKey::id).collect();
            let hint =
                if matches!(scope, Scope::Enterprise(_)) { "; an enterprise needs a token" } else { "" };
            Error::NotFound {
                doing: format!("find an App for {scope}"),
                message: format!("App {} is not installed there{hint}", ids.join(", ")),
            }
        }))
    }

    /// An App's installation for a scope, if it has one.
    async fn installation(
        &self,
        key: &AppKey,
        clock: &Clock,
        scope: &Scope,
        until: Instant,
    ) -> Result<Option<WireInstallation>, Error> {
        let mut at = path(scope);
        at.push("installation");
        let doing = format!("find the installation of App {} for {scope}", key.id());
        let call = Call::get(doing, "installation", url(&self.api, &at));
        let response = self.caller.ask_until(AsApp { key, clock, call }, until).await?;
        match response.status {
            StatusCode::OK => Ok(Some(response.json("an installation")?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(response.failure()),
        }
    }

    /// The installation's token: the one that is there, or a new one, which one caller gets for all.
    async fn token(
        &self,
        apps: &Apps,
        installation: &Arc<Installation>,
        until: Instant,
    ) -> Result<Authorized, Error> {
        let authorized = |header| Authorized {
            label: installation.label.clone(),
            header,
            installation: Some(installation.clone()),
        };
        let ending = match installation.held() {
            Held::Good(header) => return Ok(authorized(header)),
            Held::Ending(header) => Some(header),
            Held::None => None,
        };
        if let Some(header) = &ending
            && installation.refresh.is_running()
        {
            // Somebody gets another; this one is good until then.
            return Ok(authorized(header.clone()));
        }
        let doing = || format!("get a token for {}", installation.label);
        let refresh = || async {
            match installation.held() {
                // Somebody got it just before.
                Held::Good(header) => Ok(header),
                _ => self.new_token(apps, installation, doing(), until).await,
            }
        };
        let late = || Error::Timeout { doing: doing(), after: self.caller.timeouts.total };
        match (installation.refresh.run(until, refresh, late).await, ending) {
            (Ok(header), _) => Ok(authorized(header)),
            (Err(error), Some(header)) if !matches!(error, Error::NotFound { .. }) => {
                tracing::warn!(%error, "the token could not be replaced yet; it stays valid for some minutes");
                Ok(authorized(header))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn new_token(
        &self,
        apps: &Apps,
        installation: &Installation,
        doing: String,
        until: Instant,
    ) -> Result<Secret, Error> {
        let id = installation.id.to_string();
        let url = url(&self.api, &["app", "installations", &id, "access_tokens"]);
        // Repeatable: a token that nobody hears of ends by itself.
        let call = Call { method: Method::POST, ..Call::get(doing, "installation-token", url) };
        let (key, clock) = (&apps.keys[installation.app], &apps.clock);
        let response = self.caller.ask_until(AsApp { key, clock, call }, until).await?;
        if response.status != StatusCode::CREATED {
            return Err(response.failure());
        }
        let token: WireToken = response.json("a token")?;
        // By GitHub's clock; ours may be off.
        let now = times::date(&response.headers).unwrap_or_else(|| apps.clock.now());
        let life = token.expires_at.as_second().saturating_sub(now.as_second());
        let life = Duration::from_secs(u64::try_from(life).unwrap_or(0)).min(Duration::from_secs(24 * 3600));
        let header = bearer(&Secret::new(token.token));
        installation.keep(header.clone(), life);
        Ok(header)
    }
}

/// Signs as the App itself. A 401 is met by setting the clock right and reading the key again.
struct AsApp<'a> {
    key: &'a AppKey,
    clock: &'a Clock,
    call: Call,
}

impl Signer for AsApp<'_> {
    async fn sign(&mut self, _: Instant) -> Result<Signed, Error> {
        let authorization = self.key.bearer(self.clock.now()).await?;
        Ok(Signed { call: self.call.clone(), credential: format!("app {}", self.key.id()), authorization })
    }

    async fn renew(&mut self, refused: &Response, _: Instant) -> Result<(), Error> {
        self.clock.correct(times::date(&refused.headers));
        self.key.forget();
        Ok(())
    }
}

/// What the check of a scope looks at.
pub(crate) enum Identity {
    Apps { app: serde_json::Value, installation: WireInstallation },
    Token,
}

impl Auth {
    /// Who serves a scope, in full.
    pub(crate) async fn identity(&self, scope: &Scope) -> Result<Identity, Error> {
        let Who::Apps(apps) = &self.who else { return Ok(Identity::Token) };
        let (index, installation) = self.find(apps, scope, self.caller.deadline()).await?;
        let (key, clock) = (&apps.keys[index], &apps.clock);
        let call = Call::get(format!("look at App {}", key.id()), "app", url(&self.api, &["app"]));
        let response = self.caller.ask(AsApp { key, clock, call }).await?;
        if response.status != StatusCode::OK {
            return Err(response.failure());
        }
        Ok(Identity::Apps { app: response.json("an App")?, installation })
    }
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose().trim()))
}
