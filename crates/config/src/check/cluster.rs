//! A cluster: whether its NATS can be trusted with what is said there, and what its hosts do not share.

use super::{At, Check};
use crate::{Config, ForgeRef};

/// More servers than any NATS has.
const SERVERS: usize = 16;
const LABELS: usize = 64;

impl Check<'_> {
    pub(super) fn cluster(&mut self, config: &Config) {
        let Some(cluster) = &config.cluster else { return };
        let at = At::root().key("cluster");
        self.nats(&at.key("nats"), &cluster.nats);
        let host = at.key("host");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if let Some(zone) = &cluster.host.zone
            && !((1..=63).contains(&zone.len()) && zone.bytes().all(plain))
        {
            let key = host.key("zone");
            let message = format!("{key} is not a zone's name");
            self.error(&key, &[], message, "use 1 to 63 of A-Z a-z 0-9 . _ -");
        }
        if cluster.host.name.as_ref().is_some_and(|name| name.as_str() == "all") {
            let key = host.key("name");
            let message = format!("{key} is 'all', which means every host (`fireactions --on all`)");
            self.error(&key, &[], message, "give this host another name");
        }
        if cluster.host.labels.len() > LABELS {
            let key = host.key("labels");
            let message = format!("{key} has {} labels", cluster.host.labels.len());
            self.error(&key, &[], message, format!("use {LABELS} at most"));
        }
        self.shared(config);
    }

    fn nats(&mut self, at: &At, nats: &crate::NatsConfig) {
        let (urls, creds, tls) = (at.key("urls"), at.key("creds_file"), at.key("tls"));
        let (cert, key) = (tls.key("cert_file"), tls.key("key_file"));
        if (nats.urls.is_empty() && !self.listed(&urls)) || nats.urls.len() > SERVERS {
            let message = format!("{urls} has {} addresses", nats.urls.len());
            let help =
                format!("write 1 to {SERVERS} servers of one NATS, such as [tls://nats.example.com:4222]");
            self.error(&urls, &[], message, help);
        }
        for (index, url) in nats.urls.iter().enumerate() {
            if !url.is_tls() && !url.is_on_this_host() {
                let key = urls.index(index);
                let message = format!(
                    "{key} has no TLS, so anybody on the network path could read and change what hosts tell each other"
                );
                self.error(
                    &key,
                    &[],
                    message,
                    format!("write tls:// in place of nats://; put your own certificate authority into {tls}.ca_file"),
                );
            }
        }
        match (&nats.tls.cert_file, &nats.tls.key_file) {
            (Some(_), None) => self.error(
                &cert,
                &[&key],
                format!("{cert} has no key"),
                "add 'key_file: credential:nats-key' (or an absolute path)",
            ),
            (None, Some(_)) => self.error(
                &key,
                &[&cert],
                format!("{key} is the key of no certificate"),
                "add 'cert_file:' with the path of the certificate, or remove this key",
            ),
            _ => {}
        }
        let is_known = nats.creds_file.is_some() || nats.tls.cert_file.is_some();
        if !is_known && nats.urls.iter().any(|url| !url.is_on_this_host()) {
            self.error(
                &urls,
                &[&creds, &cert],
                format!("{urls} can be reached from other hosts, so NATS must know who this one is"),
                "add 'creds_file: credential:nats-creds' (or an absolute path), or cert_file and key_file below 'tls:'",
            );
        }
    }

    /// Hosts share the jobs of GitHub's scale sets, of Gitea and of Forgejo. Webhooks of GitHub come to one host alone, and nothing else
    /// tells in time of jobs without a scale set: each host would make machines for what it hears of, which is refused.
    fn shared(&mut self, config: &Config) {
        let cluster = At::root().key("cluster");
        let mut has_own = false;
        for (index, pool) in config.pools.iter().enumerate() {
            match config.forge_of(&pool.runner) {
                Ok(Some((forge, ForgeRef::Github(_))))
                    if pool.runner.scale_set.name(&pool.name).is_none() =>
                {
                    let runner = At::root().key("pools").index(index).key("runner");
                    self.error(
                        &runner,
                        &[&cluster],
                        format!(
                            "pool '{}' has no scale set at the forge '{forge}', so the hosts of a cluster would not share its jobs: each would start machines for all of them",
                            pool.name
                        ),
                        "remove 'scale_set: false' from the pool: the hosts of a cluster share the jobs of scale sets",
                    );
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => has_own = true,
            }
        }
        if has_own {
            self.warn(
                &cluster,
                "the hosts of a cluster do not share their built-in queues yet: jobs run on the host where they were submitted",
                "`fireactions cluster status` shows which host has room; submit jobs there",
            );
        }
    }
}
