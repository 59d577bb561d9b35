//! What a provider says of itself (OpenID Connect Discovery 1.0), and its keys.

use fireactions_model::is_private;
use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use url::Url;

use crate::Error;
use crate::exchange::Client;

/// Where a provider is asked for what.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: Endpoint,
    pub(crate) token_endpoint: Endpoint,
    pub(crate) jwks_uri: Endpoint,
    pub(crate) userinfo_endpoint: Option<Endpoint>,
    /// The provider puts its name into the answer (RFC 9207).
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
}

/// Where something is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Endpoint(pub(crate) Url);

impl TryFrom<String> for Endpoint {
    type Error = url::ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// What is known of a provider.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) metadata: Metadata,
    pub(crate) keys: JwkSet,
}

pub(crate) async fn discover(client: &Client, issuer: &Url) -> Result<Known, Error> {
    let mut url = issuer.clone();
    url.set_path(&format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/')));
    let metadata: Metadata =
        client.get("ask the provider how it works", &url, None).await?.json("a provider's configuration")?;
    // Or one provider could speak for another (section 4.3).
    if metadata.issuer.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
        let why = format!("it is another's: its issuer is {}", fireactions_http::plain(&metadata.issuer));
        return Err(Error::Discovery(why));
    }
    let all = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
    if let Some(open) = all.into_iter().chain(&metadata.userinfo_endpoint).find(|url| !is_private(&url.0)) {
        return Err(Error::Discovery(format!("{} does not use https", open.0.path())));
    }
    let keys = keys(client, &metadata).await?;
    Ok(Known { metadata, keys })
}

pub(crate) async fn keys(client: &Client, metadata: &Metadata) -> Result<JwkSet, Error> {
    let answer = client.get("ask the provider for its keys", &metadata.jwks_uri.0, None).await?;
    Ok(answer.json("a set of keys")?)
}
