//! Authentication: Basic, or the bearer token flow of the distribution specification
//! (<https://distribution.github.io/distribution/spec/auth/token/>).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fireactions_model::Secret;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::Repository;
use super::credentials::{Credentials, find};
use super::http::{Attempt, Http, authority, body, is_this_host, no_web_page};
use crate::ImageError;

/// Tokens are replaced a little before they end.
const MARGIN: Duration = Duration::from_secs(10);
/// What the specification says a token without `expires_in` lives.
const DEFAULT_LIFE: u64 = 60;
/// Largest token answer.
const TOKEN_MAX: u64 = 256 << 10;

/// Credentials and the tokens got with them.
pub(super) struct Auth {
    docker_config: Option<PathBuf>,
    helper_deadline: Duration,
    /// By base URL and repository.
    cache: Mutex<HashMap<(String, String), (HeaderValue, Instant)>>,
}

/// A `WWW-Authenticate` challenge.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
#[allow(clippy::struct_field_names, reason = "as the specification has them")]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    pub(super) fn new(docker_config: Option<PathBuf>, helper_deadline: Duration) -> Self {
        Self { docker_config, helper_deadline, cache: Mutex::default() }
    }

    fn key(repository: &Repository) -> (String, String) {
        (repository.base.clone(), repository.name.clone())
    }

    /// The header that worked the last time, while it is valid.
    pub(super) fn cached(&self, repository: &Repository) -> Option<HeaderValue> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|_, (_, until)| *until > Instant::now());
        cache.get(&Self::key(repository)).map(|(value, _)| value.clone())
    }

    /// Answers a 401: the header to send instead.
    pub(super) async fn answer(
        &self,
        http: &Http,
        repository: &Repository,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, Attempt> {
        let denied = |why: &str| ImageError::Denied {
            registry: repository.registry.clone(),
            image: repository.name.clone(),
            why: why.to_string(),
        };
        let challenges: Vec<Challenge> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .filter_map(parse)
            .collect();
        let credentials =
            find(self.docker_config.as_deref(), &repository.registry, &repository.name, self.helper_deadline)
                .await?;
        let bearer = challenges.iter().find(|c| **c != Challenge::Basic).or(challenges.first());
        let (text, life) = match bearer {
            None => return Err(denied("it asks for a login with an unknown scheme").into()),
            Some(Challenge::Basic) => match &credentials {
                Some(Credentials::Password { user, password }) => {
                    (basic(user, password), u64::from(u32::MAX))
                }
                _ => return Err(denied("it asks for a user and a password, but none are configured").into()),
            },
            Some(Challenge::Bearer { realm, service, scope }) => {
                let token =
                    token(http, repository, realm, service.as_deref(), scope.as_deref(), credentials).await?;
                let life = token.expires_in.unwrap_or(DEFAULT_LIFE).min(86_400);
                let text = token.token.or(token.access_token).unwrap_or_default();
                (format!("Bearer {text}"), life)
            }
        };
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| denied("its token cannot be sent in a header"))?;
        value.set_sensitive(true);
        let until = Instant::now() + Duration::from_secs(life).saturating_sub(MARGIN);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(Self::key(repository), (value.clone(), until));
        Ok(value)
    }
}

fn basic(user: &str, password: &Secret) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))
}

async fn token(
    http: &Http,
    repository: &Repository,
    realm: &str,
    service: Option<&str>,
    scope: Option<&str>,
    credentials: Option<Credentials>,
) -> Result<Token, Attempt> {
    let registry = &repository.registry;
    let protocol = |why: String| ImageError::Protocol { registry: registry.clone(), why };
    let mut url = Url::parse(realm).map_err(|_| protocol("its token server is not a URL".into()))?;
    let host = authority(&url);
    // Credentials go there: never in the clear over a network.
    if url.scheme() != "https" && !(url.scheme() == "http" && http.plain_allowed(&host)) {
        return Err(protocol(format!("its token server {host:.100} does not use https")).into());
    }
    if is_this_host(&host) && !is_this_host(registry) {
        return Err(protocol(format!("its token server {host:.100} would be this host itself")).into());
    }
    let default_scope = format!("repository:{}:pull", repository.name);
    let scope = scope.unwrap_or(&default_scope);
    let client = http.client(url.as_str());
    let request = match credentials {
        Some(Credentials::IdentityToken(refresh)) => {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh.expose()),
                ("client_id", "fireactions"),
                ("service", service.unwrap_or_default()),
                ("scope", scope),
            ];
            let mut encoded = Url::parse("http://form/").map_err(|e| protocol(e.to_string()))?;
            encoded.query_pairs_mut().extend_pairs(form);
            client
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(encoded.query().unwrap_or_default().to_string())
        }
        other => {
            url.query_pairs_mut().extend_pairs(service.map(|s| ("service", s))).append_pair("scope", scope);
            let request = client.get(url);
            match other {
                Some(Credentials::Password { user, password }) => {
                    request.header("authorization", basic(&user, &password))
                }
                _ => request,
            }
        }
    };
    let response = request.send().await.map_err(|e| Attempt::from_reqwest(registry, &e))?;
    if response.status() != StatusCode::OK {
        return Err(super::http::refusal(repository, response).await);
    }
    no_web_page(registry, &response)?;
    let bytes = body(registry, response, TOKEN_MAX).await?;
    let token: Token = serde_json::from_slice(&bytes)
        .map_err(|_| protocol("its token server's answer is not a token".into()))?;
    if token.token.is_none() && token.access_token.is_none() {
        return Err(protocol("its token server's answer holds no token".into()).into());
    }
    Ok(token)
}

/// Reads one challenge (RFC 9110, 11.6.1, as registries write it: one scheme per header).
fn parse(text: &str) -> Option<Challenge> {
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            (value, rest) = quoted.split_once('"')?;
        } else {
            (value, rest) = after.split_once(',').unwrap_or((after, ""));
        }
        match key.as_str() {
            "realm" => realm = Some(value.to_string()),
            "service" => service = Some(value.to_string()),
            "scope" => scope = Some(value.to_string()),
            _ => {}
        }
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            parse(bearer),
            Some(Challenge::Bearer {
                realm: "https://auth.docker.io/token".into(),
                service: Some("registry.docker.io".into()),
                scope: Some("repository:a/b:pull,push".into()),
            })
        );
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(
            parse("bearer service=a, realm=https://x/"),
            Some(Challenge::Bearer { realm: "https://x/".into(), service: Some("a".into()), scope: None })
        );
        for nonsense in ["", "Bearer", "Bearer realm=\"x", "Digest realm=\"x\"", "Bearer service=\"x\""] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
