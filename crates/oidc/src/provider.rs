//! A provider, and a login with it.

use std::sync::Arc;
use std::time::Duration;

use fireactions_http::{Connection, Http, plain};
use fireactions_model::Secret;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::discovery::{Known, discover, keys};
use crate::exchange::Client;
use crate::identity::{Claims, has_key, identity, invalid, key_name, verified};
use crate::{Error, Identity, Pending};

/// What a provider says of itself is asked for again after this time.
const KNOWN: Duration = Duration::from_secs(3600);
/// Its keys are not asked for more often, whatever somebody shows.
const KEYS: Duration = Duration::from_secs(30);

/// How a provider is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The provider's name, which is its address.
    pub issuer: Url,
    /// Our name there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    pub client_secret: Option<Secret>,
    /// What is asked for, beside `openid`.
    pub scopes: Vec<String>,
    /// The claim with somebody's groups.
    pub groups_claim: String,
    /// Where the provider sends people back to, as it knows it.
    pub redirect: Url,
    /// Certificates of authorities to trust in addition to the usual ones, PEM.
    pub ca_pem: Option<Vec<u8>>,
}

/// A provider. Clones share what they know of it.
#[derive(Clone)]
pub struct Provider {
    settings: Arc<Settings>,
    client: Client,
    known: Arc<Mutex<Option<Asked>>>,
}

/// What is known of it, and since when.
type Asked = (Instant, Arc<Known>);

impl Provider {
    /// Whether it is there is not asked.
    ///
    /// # Errors
    ///
    /// Certificates that are none.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let connection =
            Connection { ca_pem: settings.ca_pem.as_deref(), ..Connection::new(&settings.issuer) };
        let http = Http::new(&connection)?;
        let client = Client { http, id: settings.client_id.clone(), secret: settings.client_secret.clone() };
        Ok(Self { settings: Arc::new(settings), client, known: Arc::default() })
    }

    /// Begins a login: where its browser goes, and what is to be kept until it comes back.
    ///
    /// # Errors
    ///
    /// The provider cannot be reached, or is not one.
    pub async fn begin(&self) -> Result<(Url, Pending), Error> {
        let known = self.known().await?;
        let pending = Pending::new();
        let mut url = known.metadata.authorization_endpoint.0.clone();
        let scope = std::iter::once("openid").chain(self.settings.scopes.iter().map(String::as_str));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", self.settings.redirect.as_str())
            .append_pair("scope", &scope.collect::<Vec<_>>().join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &pending.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok((url, pending))
    }

    /// Ends a login: who it is. `issuer` is the answer's parameter `iss`.
    ///
    /// # Errors
    ///
    /// The code is none of the provider's, or what it signs is not for this login.
    pub async fn finish(
        &self,
        pending: &Pending,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<Identity, Error> {
        let known = self.known().await?;
        let metadata = &known.metadata;
        let expected = metadata.authorization_response_iss_parameter_supported;
        if issuer.is_some_and(|issuer| issuer != metadata.issuer) || (expected && issuer.is_none()) {
            return Err(invalid("another provider has sent it"));
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.settings.redirect.as_str()),
            ("code_verifier", &pending.verifier),
        ];
        let tokens = self.client.redeem(&metadata.token_endpoint.0, &form).await?;
        let known = self.with_key(known, key_name(&tokens.id_token)?.as_deref()).await?;
        let claims = verified(&known, &tokens.id_token, &self.settings.client_id, pending)?;
        let more = match (&known.metadata.userinfo_endpoint, &tokens.access_token) {
            (Some(url), Some(token)) if !claims.contains_key(&self.settings.groups_claim) => {
                Some(self.more(&url.0, token, &claims).await?)
            }
            _ => None,
        };
        Ok(identity(&claims, more.as_ref(), &self.settings.groups_claim))
    }

    /// What the provider says of somebody beside the token.
    async fn more(&self, url: &Url, token: &str, claims: &Claims) -> Result<Claims, Error> {
        let bearer = Secret::new(format!("Bearer {token}"));
        let answer = self.client.get("ask the provider for somebody's groups", url, Some(bearer)).await?;
        let more: Claims = answer.json("what a provider says of somebody")?;
        // Or it could be about somebody else (section 5.3.2).
        if more.get("sub") != claims.get("sub") {
            return Err(invalid("what it says beside the token is about somebody else"));
        }
        Ok(more)
    }

    async fn known(&self) -> Result<Arc<Known>, Error> {
        let mut known = self.known.lock().await;
        if let Some((since, known)) = &*known
            && since.elapsed() < KNOWN
        {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(discover(&self.client, &self.settings.issuer).await?);
        *known = Some((Instant::now(), Arc::clone(&found)));
        Ok(found)
    }

    /// With its keys of now, if it has changed them since they were asked for.
    async fn with_key(&self, known: Arc<Known>, name: Option<&str>) -> Result<Arc<Known>, Error> {
        if has_key(&known, name) {
            return Ok(known);
        }
        let mut kept = self.known.lock().await;
        if let Some((since, kept)) = &*kept
            && (has_key(kept, name) || since.elapsed() < KEYS)
        {
            return Ok(Arc::clone(kept));
        }
        let keys = keys(&self.client, &known.metadata).await?;
        let found = Arc::new(Known { metadata: known.metadata.clone(), keys });
        *kept = Some((Instant::now(), Arc::clone(&found)));
        Ok(found)
    }

    /// What a provider says that it does not log somebody in, for people.
    pub fn refusal(error: &str, description: Option<&str>) -> Error {
        Error::Refused(plain(&format!("{error} {}", description.unwrap_or_default())))
    }
}
