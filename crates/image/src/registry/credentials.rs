//! Logins from Docker's `config.json` and its credential helpers
//! (<https://docs.docker.com/reference/cli/docker/login/#credential-stores>).
//!
//! Read again each time it is needed, so that `docker login` works without a restart. Own code rather than the
//! `docker_credential` crate because a helper must have a deadline and its output must not get into an error.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use fireactions_model::Secret;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::ImageError;

/// Docker Hub's key in `config.json`.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// What people and tools write: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// Largest answer of a helper.
const ANSWER_MAX: u64 = 64 << 10;

/// A login.
#[derive(Debug)]
pub(super) enum Credentials {
    Password {
        user: String,
        password: Secret,
    },
    /// To be traded for an access token (OAuth2 refresh token).
    IdentityToken(Secret),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    // Docker writes null for what is not there.
    auths: Option<HashMap<String, Option<AuthEntry>>>,
    cred_helpers: Option<HashMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The login for a registry, or none: public images need none.
pub(super) async fn find(
    config: Option<&Path>,
    registry: &str,
    repository: &str,
    deadline: Duration,
) -> Result<Option<Credentials>, ImageError> {
    let Some(path) = config else { return Ok(None) };
    let fail = |why: String| ImageError::Credentials { registry: registry.to_string(), why };
    let text =
        tokio::fs::read(path).await.map_err(|e| fail(format!("cannot read {}: {e}", path.display())))?;
    // The parser's words could hold a piece of the file.
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|e| {
        fail(format!("{} is not valid (line {}, column {})", path.display(), e.line(), e.column()))
    })?;
    let keys = keys(registry);
    let of_helper = |key| config.cred_helpers.as_ref()?.get(key);
    let helper = keys.iter().find_map(of_helper).or(config.creds_store.as_ref());
    if let Some(helper) = helper.filter(|helper| !helper.is_empty())
        && let Some(found) = ask(helper, &keys[0], deadline).await.map_err(fail)?
    {
        return Ok(Some(found));
    }
    let auths = config.auths.unwrap_or_default();
    let places = namespaces(registry, repository);
    let entry = places.iter().chain(&keys).find_map(|key| auths.get(key)?.as_ref());
    let Some(entry) = entry else { return Ok(None) };
    decode(entry.clone()).map_err(|why| fail(format!("{}: {why}", path.display())))
}

/// The keys of logins to parts of a registry (containers-auth.json(5)), the narrowest first: `podman login REGISTRY/TEAM`.
fn namespaces(registry: &str, repository: &str) -> Vec<String> {
    let ends = repository.match_indices('/').map(|(end, _)| end).chain([repository.len()]);
    let mut keys: Vec<String> = ends.map(|end| format!("{registry}/{}", &repository[..end])).collect();
    keys.reverse();
    keys
}

/// How a registry may be called in the file, the usual way first.
fn keys(registry: &str) -> Vec<String> {
    if registry == "docker.io" {
        return [HUB_KEY, "docker.io", "index.docker.io", "registry-1.docker.io"].map(String::from).to_vec();
    }
    let mut keys = vec![registry.to_string()];
    for scheme in ["https", "http"] {
        for end in ["", "/", "/v1/", "/v2/"] {
            keys.push(format!("{scheme}://{registry}{end}"));
        }
    }
    keys
}

fn decode(entry: AuthEntry) -> Result<Option<Credentials>, &'static str> {
    if let Some(token) = entry.identitytoken.filter(|token| !token.is_empty()) {
        return Ok(Some(Credentials::IdentityToken(Secret::new(token))));
    }
    if let Some(auth) = entry.auth.filter(|auth| !auth.is_empty()) {
        let auth: String = auth.split_ascii_whitespace().collect();
        let bytes = BASE64.decode(auth).map_err(|_| "an 'auth' is not base64")?;
        let text = String::from_utf8(bytes).map_err(|_| "an 'auth' is not text")?;
        let (user, password) = text.split_once(':').ok_or("an 'auth' is not user:password")?;
        let password = Secret::new(password.trim_end_matches('\0'));
        return Ok(Some(Credentials::Password { user: user.to_string(), password }));
    }
    match (entry.username, entry.password) {
        (Some(user), Some(password)) => {
            Ok(Some(Credentials::Password { user, password: Secret::new(password) }))
        }
        // `docker login` with a store leaves an empty entry behind.
        _ => Ok(None),
    }
}

async fn ask(helper: &str, server: &str, deadline: Duration) -> Result<Option<Credentials>, String> {
    if helper.is_empty() || !helper.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err("the name of its credential helper is not a plain word".into());
    }
    let program = format!("docker-credential-{helper}");
    let run = async {
        let mut child = tokio::process::Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input may still answer.
            let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, answer))
    };
    let (status, answer) = match tokio::time::timeout(deadline, run).await {
        Err(_) => return Err(format!("{program} did not answer within {} s", deadline.as_secs())),
        Ok(Err(e)) => return Err(format!("cannot run {program}: {e}")),
        Ok(Ok(done)) => done,
    };
    if !status.success() {
        if String::from_utf8_lossy(&answer).contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!("{program} failed ({status})"));
    }
    let answer: HelperAnswer = serde_json::from_slice(&answer)
        .map_err(|_| format!("{program}'s answer is not what the protocol says"))?;
    let secret = Secret::new(answer.secret);
    Ok(Some(if answer.username == "<token>" {
        Credentials::IdentityToken(secret)
    } else {
        Credentials::Password { user: answer.username, password: secret }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrower_key_comes_first() {
        assert_eq!(namespaces("q.io", "a/b/c"), ["q.io/a/b/c", "q.io/a/b", "q.io/a"]);
        assert_eq!(namespaces("docker.io", "library/x"), ["docker.io/library/x", "docker.io/library"]);
    }

    /// A file a line, each for the registry that is in it.
    #[tokio::test]
    async fn files_of_the_case_are_read() {
        let test = "files_of_the_case_are_read";
        let Some(case) = fireactions_testkit::beside::case(test, "docker-config-forms") else { return };
        let lines = std::fs::read_to_string(case.join("configs.txt")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut found = Vec::new();
        for line in lines.lines() {
            let path = dir.path().join("config.json");
            std::fs::write(&path, line).unwrap();
            let login = find(Some(&path), "localhost:7300", "team/x", Duration::from_secs(30)).await;
            found.push(match login.unwrap_or_else(|error| panic!("{line}: {error}")) {
                Some(Credentials::Password { user, password }) => format!("{user}:{}", password.expose()),
                other => format!("{other:?}"),
            });
        }
        assert_eq!(found, ["None", "None", "ci:pa:ss", "ci:pa:ss"]);
    }
}
