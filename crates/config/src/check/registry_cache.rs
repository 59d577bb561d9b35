//! The cache of registries: what it is to cache, from where, and at which ports.

use fireactions_model::ImageSource;
use url::{Host, Url};

use super::{At, Check};
use crate::schema::registry_cache::{CacheProgram, HUB, MOST_UPSTREAMS, MOST_WARM, RegistryCacheConfig};
use crate::schema::web_proxy::MOST_DOMAINS;
use crate::{Config, SslBumpMode};

/// What else images may be said to come from, when they come from Docker Hub.
const HUB_HOSTS: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

impl Check<'_> {
    pub(super) fn registry_cache(&mut self, config: &Config) {
        let (at, cache) = (At::root().key("registry_cache"), &config.registry_cache);
        let mirrors = at.key("mirrors");
        if cache.mirrors.is_empty() && cache.enabled {
            self.error(
                &mirrors,
                &[],
                "registry_cache.mirrors is empty, so there is nothing to cache",
                "name registries, such as 'mirrors: {docker.io: {}}', or remove the key",
            );
        }
        if cache.mirrors.len() > MOST_UPSTREAMS {
            let message = format!("registry_cache.mirrors has {} registries", cache.mirrors.len());
            self.error(&mirrors, &[], message, format!("name {MOST_UPSTREAMS} at most"));
        }
        if cache.program == Some(CacheProgram::Zot) && cache.max_size_mib.is_some() {
            self.error(
                &at.key("max_size_mib"),
                &[&at.key("program")],
                "registry_cache.max_size_mib is for docker-registry; Zot cannot be limited",
                "remove it, or write 'program: docker-registry'",
            );
        }
        self.warm(cache, &at.key("warm"));
        self.web_proxy(cache, &at);
        for upstream in cache.upstreams() {
            let name = upstream.name.as_str();
            let own = mirrors.key(name.to_owned());
            if HUB_HOSTS.contains(&name) {
                let message = format!("images of Docker Hub do not name '{name}'");
                self.error(&own, &[], message, format!("write {HUB}"));
            }
            if let Some(url) = cache.mirrors.get(upstream.name).and_then(|mirror| mirror.url.as_ref()) {
                self.upstream_url(config, &own.key("url"), url);
            }
        }
    }

    fn web_proxy(&mut self, cache: &RegistryCacheConfig, at: &At) {
        let (own, bump) = (at.key("proxy"), &cache.proxy.ssl_bump);
        if cache.proxy.enabled && !cache.enabled {
            self.error(
                &own.key("enabled"),
                &[&at.key("enabled")],
                "registry_cache.proxy is a part of the cache of registries, which is off",
                "write 'enabled: true' below registry_cache, too",
            );
        }
        let domains = own.key("ssl_bump").key("domains");
        let mode = own.key("ssl_bump").key("mode");
        if bump.domains.len() > MOST_DOMAINS {
            let message = format!("{domains} has {} domains", bump.domains.len());
            self.error(&domains, &[], message, format!("name {MOST_DOMAINS} at most"));
        }
        match (bump.mode, bump.domains.is_empty()) {
            (SslBumpMode::Selective, true) => self.error(
                &mode,
                &[],
                format!("{mode} is 'selective', and {domains} names nothing that is to be opened"),
                "name domains, such as 'domains: [.githubusercontent.com]', or write 'mode: off'",
            ),
            (SslBumpMode::Off | SslBumpMode::All, false) => self.error(
                &domains,
                &[&mode],
                format!("{domains} counts only with 'mode: selective'"),
                "write 'mode: selective', or remove the domains",
            ),
            (SslBumpMode::Selective, false) | (SslBumpMode::Off | SslBumpMode::All, true) => {}
        }
    }

    /// Only what comes through the cache can be in it.
    fn warm(&mut self, cache: &RegistryCacheConfig, at: &At) {
        if cache.warm.len() > MOST_WARM {
            let message = format!("registry_cache.warm has {} images", cache.warm.len());
            self.error(at, &[], message, format!("name {MOST_WARM} at most"));
        }
        for (index, image) in cache.warm.iter().enumerate() {
            let own = at.index(index);
            match ImageSource::of(image) {
                Ok(ImageSource::Registry(remote)) => {
                    if !cache.mirrors.keys().any(|name| name.as_str() == remote.registry) {
                        let message = format!("the registry '{}' of {own} is not cached", remote.registry);
                        let help = format!("add '{}: {{}}' to registry_cache.mirrors", remote.registry);
                        self.error(&own, &[&At::root().key("registry_cache").key("mirrors")], message, help);
                    }
                }
                Ok(_) => {
                    let message = format!("{own} is not an image of a registry");
                    self.error(
                        &own,
                        &[],
                        message,
                        "name it as `docker pull` does, such as docker.io/library/debian:12",
                    );
                }
                Err(why) => self.error(
                    &own,
                    &[],
                    format!("{own} is not an image's name: {why}"),
                    "name it as `docker pull` does",
                ),
            }
        }
    }

    fn upstream_url(&mut self, config: &Config, at: &At, url: &Url) {
        // What is written may have a password in it, so it is not shown.
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare {
            let help = "put the login into a file, and name it with credentials_file";
            self.error(at, &[], format!("{at} has a login in it"), help);
        } else if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            let help = "write https://HOST alone; images say the rest";
            self.error(at, &[], format!("{at} is more than where a registry is"), help);
        }
        let host = url.host_str().unwrap_or_default();
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let listed = &config.images.insecure_registries;
        let local = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if url.scheme() == "http" && !local && !listed.iter().any(|one| *one == authority || one == host) {
            self.error(
                at,
                &[&At::root().key("images").key("insecure_registries")],
                format!("{at} has no TLS: anybody on the way could change the images of all jobs"),
                format!("write https://, or add '{authority}' to images.insecure_registries"),
            );
        }
    }
}
