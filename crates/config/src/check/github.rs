//! What must fit together for GitHub: the section of the server. Pools are in `runner.rs`.

use fireactions_model::{GithubUrlError, github_api, is_bare};
use url::Url;

use crate::schema::Duration;
use crate::{Config, GithubConfig};

use super::{At, Check};

/// An audit asks for each repository; more often, it would use up the limit on requests.
const SHORTEST_AUDIT: Duration = Duration::secs(30);
/// A runner without a machine takes jobs from those that have one for as long.
const LONGEST_AUDIT: Duration = Duration::secs(3600);
/// Longest path of the webhook, in bytes.
const WEBHOOK_PATH: usize = 200;

impl Check<'_> {
    pub(super) fn github(&mut self, config: &Config) {
        if let Some(github) = &config.github {
            let at = At::root().key("github");
            self.credentials(&at, github);
            self.github_url(&at, &github.url);
            self.proxy(&at, github);
            self.webhook(&at.key("webhook"), github);
            if github.audit_interval < SHORTEST_AUDIT || github.audit_interval > LONGEST_AUDIT {
                self.error(
                    &at.key("audit_interval"),
                    &[],
                    format!("github.audit_interval cannot be {}", github.audit_interval),
                    "use a time from 30s to 1h; 5m is usual",
                );
            }
            if !config.pools.iter().any(|pool| pool.runner.has_scope()) {
                self.warn(
                    &at,
                    "no pool is GitHub's, so this section does nothing",
                    "add organization, repository or enterprise below 'runner:' of a pool",
                );
            }
        }
        self.runners(config);
    }

    fn credentials(&mut self, at: &At, github: &GithubConfig) {
        let (id, key, apps, token) =
            (at.key("app_id"), at.key("app_private_key_file"), at.key("apps"), at.key("token_file"));
        match (&github.app_id, &github.app_private_key_file) {
            (Some(_), None) => self.error(
                &id,
                &[&key, &at.key("app_private_key")],
                "github.app_private_key_file is missing",
                "name the file with the App's private key: an absolute path, or credential:NAME",
            ),
            (None, Some(_)) => self.error(
                &key,
                &[&id],
                "github.app_id is missing: a private key is an App's",
                "add 'app_id: N', as the App's page at GitHub shows it",
            ),
            _ => {}
        }
        let one = github.app_id.is_some() || github.app_private_key_file.is_some();
        let several = !github.apps.is_empty() || self.listed(&apps);
        if one && several {
            self.error(
                &apps,
                &[&id, &key],
                "github has both app_id and apps",
                "put the App of app_id into apps, and remove app_id and app_private_key_file",
            );
        }
        if (one || several) && github.token_file.is_some() {
            self.error(
                &token,
                &[&id, &key, &apps],
                "github has both an App and a token",
                "keep the App, which may do only what it needs; a token is for runners of an enterprise",
            );
        }
        if !one && !several && github.token_file.is_none() {
            self.error(
                at,
                &[&id, &key, &at.key("app_private_key"), &apps, &token],
                "github has no credential",
                "add app_id and app_private_key_file, or token_file; examples/github.yaml shows them",
            );
        }
        for (index, app) in github.apps.iter().enumerate() {
            if github.apps[..index].iter().any(|other| other.app_id == app.app_id) {
                self.error(
                    &apps.index(index).key("app_id"),
                    &[],
                    format!("github.apps has the App {} twice", app.app_id.0),
                    "remove one of the two",
                );
            }
        }
    }

    fn github_url(&mut self, at: &At, url: &Url) {
        let Err(error) = github_api(url) else { return };
        let text = error.to_string();
        let (why, help) = text.split_once("; ").unwrap_or((&text, "write https://HOST alone"));
        let message = format!("github.url cannot be GitHub's: {why}");
        let help = match error {
            GithubUrlError::Open => format!("{help}; an authority of your own goes into github.ca_file"),
            _ => help.to_owned(),
        };
        self.error(&at.key("url"), &[], message, help);
    }

    fn proxy(&mut self, at: &At, github: &GithubConfig) {
        let Some(url) = &github.proxy else { return };
        let at = at.key("proxy");
        if !url.username().is_empty() || url.password().is_some() {
            self.error(
                &at,
                &[],
                "github.proxy has a user in it, and passwords do not belong in this file",
                "remove github.proxy, and set HTTPS_PROXY in an EnvironmentFile= of the unit",
            );
        } else if !is_bare(url) {
            self.error(
                &at,
                &[],
                "github.proxy is more than a host and a port",
                "write http://HOST:PORT alone",
            );
        }
    }

    fn webhook(&mut self, at: &At, github: &GithubConfig) {
        let Some(webhook) = &github.webhook else { return };
        let (file, files) = (at.key("secret_file"), at.key("secret_files"));
        if webhook.secret_files().is_empty() && !self.listed(&files) {
            self.error(
                at,
                &[&file, &files],
                "github.webhook has no secret, so anybody could tell this server of jobs",
                "add 'secret_file: credential:github-webhook' (or an absolute path), and set the same secret at GitHub",
            );
        }
        let path = &webhook.path;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-~".contains(&b);
        if !path.starts_with('/') || path.len() > WEBHOOK_PATH || !path.bytes().all(plain) {
            self.error(
                &at.key("path"),
                &[],
                "github.webhook.path is not the path of a URL",
                "begin it with '/', and use letters, digits and / . _ - ~, as in /webhook/github",
            );
        }
    }
}
