//! What must fit together in the settings of a GitHub.

use fireactions_model::{GithubUrlError, github_api};
use url::Url;

use crate::GithubConfig;

use super::{At, Check};

impl Check<'_> {
    pub(super) fn github(&mut self, at: &At, github: &GithubConfig) {
        self.credentials(at, github);
        self.github_url(at, &github.url);
    }

    fn credentials(&mut self, at: &At, github: &GithubConfig) {
        let (id, key, apps, token) =
            (at.key("app_id"), at.key("app_private_key_file"), at.key("apps"), at.key("token_file"));
        match (&github.app_id, &github.app_private_key_file) {
            (Some(_), None) => self.error(
                &id,
                &[&key],
                format!("{key} is missing"),
                "name the file with the App's private key: an absolute path, or credential:NAME",
            ),
            (None, Some(_)) => self.error(
                &key,
                &[&id],
                format!("{id} is missing: a private key belongs to an App"),
                "add 'app_id: N', as the App's page on GitHub shows it",
            ),
            _ => {}
        }
        let one = github.app_id.is_some() || github.app_private_key_file.is_some();
        let several = !github.apps.is_empty() || self.listed(&apps);
        if one && several {
            self.error(
                &apps,
                &[&id, &key],
                format!("{at} has both app_id and apps"),
                "put the App of app_id into apps, and remove app_id and app_private_key_file",
            );
        }
        if (one || several) && github.token_file.is_some() {
            self.error(
                &token,
                &[&id, &key, &apps],
                format!("{at} has both an App and a token"),
                "keep the App, which has only the permissions it needs; a token is for runners of an enterprise",
            );
        }
        if !one && !several && github.token_file.is_none() {
            self.error(
                at,
                &[&id, &key, &apps, &token],
                format!("{at} has no credential"),
                "add app_id and app_private_key_file, or token_file; examples/github.yaml shows them",
            );
        }
        for (index, app) in github.apps.iter().enumerate() {
            if github.apps[..index].iter().any(|other| other.app_id == app.app_id) {
                self.error(
                    &apps.index(index).key("app_id"),
                    &[],
                    format!("{apps} has the App {} twice", app.app_id.0),
                    "remove one of the two",
                );
            }
        }
    }

    fn github_url(&mut self, at: &At, url: &Url) {
        let Err(error) = github_api(url) else { return };
        let text = error.to_string();
        let (why, help) = text.split_once("; ").unwrap_or((&text, "write https://HOST alone"));
        let message = format!("{at}.url cannot be GitHub's: {why}");
        let help = match error {
            GithubUrlError::Open => format!("{help}; put your own certificate authority into {at}.ca_file"),
            _ => help.to_owned(),
        };
        self.error(&at.key("url"), &[], message, help);
    }
}
