//! What must fit together in the settings of a Gitea or a Forgejo.

use fireactions_model::{is_on_this_host, is_private};
use url::Url;

use crate::GiteaConfig;
use crate::schema::Duration;

use super::{At, Check};

/// More often, the server would do little else than answer.
const SHORTEST_POLL: Duration = Duration::secs(1);
/// A job waits for as long before anybody hears of it.
const LONGEST_POLL: Duration = Duration::secs(300);

impl Check<'_> {
    pub(super) fn gitea(&mut self, at: &At, gitea: &GiteaConfig) {
        self.gitea_url(at, &gitea.url, gitea.insecure_http);
        self.tokens(at, gitea);
        if gitea.poll_interval < SHORTEST_POLL || gitea.poll_interval > LONGEST_POLL {
            let key = at.key("poll_interval");
            let message = format!("{key} cannot be {}", gitea.poll_interval);
            self.error(&key, &[], message, "use a time from 1s to 5m; 3s is usual");
        }
    }

    pub(super) fn forgejo(&mut self, at: &At, forgejo: &GiteaConfig) {
        self.gitea(at, forgejo);
        if forgejo.webhook.is_some() {
            self.error(
                &at.key("webhook"),
                &[],
                format!("{at} cannot have a webhook: Forgejo has none that reports single jobs"),
                format!(
                    "remove it: the queue is polled every {}, as poll_interval says",
                    forgejo.poll_interval
                ),
            );
        }
    }

    fn gitea_url(&mut self, at: &At, url: &Url, insecure: bool) {
        let key = at.key("url");
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            self.error(
                &key,
                &[],
                format!("{key} is more than a host and a path"),
                "write https://HOST, or https://HOST/PATH/; tokens go into files",
            );
        } else if url.path().trim_end_matches('/').ends_with("/api/v1") {
            self.error(
                &key,
                &[],
                format!("{key} is the address of the API, not of the web interface"),
                "leave out 'api/v1'",
            );
        } else if !is_private(url) && !insecure {
            self.error(
                &key,
                &[&at.key("insecure_http")],
                format!("{key} does not use https, so anybody on the network path could read the tokens"),
                format!(
                    "write https://HOST; put your own certificate authority into {at}.ca_file; if the network path is safe, set 'insecure_http: true'"
                ),
            );
        } else if is_on_this_host(url) {
            self.warn(
                &key,
                format!("{key} is an address of this host itself; in a machine it means the machine, so no runner can reach the forge"),
                "use a name or an address that machines can reach; add a private one to network.allow of the pools, too",
            );
        }
    }

    fn tokens(&mut self, at: &At, gitea: &GiteaConfig) {
        let (api, runner) = (at.key("api_token_file"), at.key("runner_token_file"));
        match (&gitea.api_token_file, &gitea.runner_token_file) {
            (Some(_), Some(_)) => self.error(
                &runner,
                &[&api],
                format!("{at} has both api_token_file and runner_token_file"),
                "keep api_token_file: with it, runners are registered as jobs arrive",
            ),
            (None, None) => self.error(
                at,
                &[&api, &runner, &at.key("api_token"), &at.key("runner_token"), &at.key("token")],
                format!("{at} has no token"),
                "add 'api_token_file: credential:NAME' (or an absolute path); examples/gitea.yaml shows it",
            ),
            _ => {}
        }
    }
}
