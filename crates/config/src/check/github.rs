//! What must fit together for GitHub: the section of the server. Pools are in `runner.rs`.

use url::{Host, Url};

use crate::schema::Duration;
use crate::{Config, GithubConfig, ListenAddress};

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
            self.webhook(&at.key("webhook"), config, github);
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
        let at = at.key("url");
        let host = url.host_str().unwrap_or_default();
        if !is_bare(url) {
            self.error(
                &at,
                &[],
                "github.url is more than a host",
                "write https://HOST alone; organizations and repositories are named below 'runner:' of pools, \
                 and credentials in files",
            );
        } else if host.starts_with("api.") || host == "www.github.com" {
            self.error(
                &at,
                &[],
                format!("github.url is where people see GitHub, which is not {host}"),
                "leave out 'api.' or 'www.'",
            );
        } else if url.scheme() == "http" && !is_loopback(url) {
            self.error(
                &at,
                &[],
                "github.url is not https, so everybody on the way could read the credentials",
                "write https://HOST (an authority of your own goes into github.ca_file); http is for a test at 127.0.0.1",
            );
        }
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

    fn webhook(&mut self, at: &At, config: &Config, github: &GithubConfig) {
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
        let root = At::root();
        let metrics = config.metrics.enabled.then_some(config.metrics.address);
        for (name, place, other) in [
            ("bind_address", root.key("bind_address"), config.bind_address),
            ("metrics.address", root.key("metrics").key("address"), metrics),
        ] {
            if let Some(other) = other
                && overlap(webhook.listen, other)
            {
                self.error(
                    &at.key("listen"),
                    &[&place],
                    format!(
                        "github.webhook.listen {} takes the port of {name} {}",
                        webhook.listen.0, other.0
                    ),
                    "use another port: GitHub must reach the webhook, and nobody else the other",
                );
            }
        }
    }
}

/// Whether it is a scheme, a host and perhaps a port, and nothing else.
fn is_bare(url: &Url) -> bool {
    url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Whether the two cannot be listened on at the same time. Port 0 is any free one.
fn overlap(one: ListenAddress, other: ListenAddress) -> bool {
    let (one, other) = (one.0, other.0);
    // The unspecified address is all of its family; that of IPv6 is those of IPv4 too.
    let covers =
        |all: std::net::IpAddr, ip: std::net::IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || covers(one.ip(), other.ip()) || covers(other.ip(), one.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_where_the_system_refuses_the_second() {
        let overlap = |one: &str, other: &str| {
            let address = |text: &str| ListenAddress(text.parse().unwrap());
            let there = overlap(address(one), address(other));
            assert_eq!(overlap(address(other), address(one)), there, "{one} {other}");
            there
        };
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlap("[::]:80", "127.0.0.1:80"));
        assert!(overlap("[::]:80", "[::1]:80"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("0.0.0.0:80", "127.0.0.1:81"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
    }

    #[test]
    fn only_this_host_is_loopback() {
        let loopback = |text: &str| is_loopback(&text.parse().unwrap());
        for url in ["http://127.0.0.1", "http://127.9.9.9:80", "http://[::1]:80", "http://localhost"] {
            assert!(loopback(url), "{url}");
        }
        for url in
            ["http://127.0.0.1.example.com", "http://localhost.example.com", "http://10.0.0.1", "http://[::]"]
        {
            assert!(!loopback(url), "{url}");
        }
    }
}
