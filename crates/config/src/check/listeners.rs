//! No two listeners can have one address.

use fireactions_model::network_rules::overlap;

use super::forges::section;
use super::{At, Check};
use crate::{CacheProgram, Config, ListenAddress};

impl Check<'_> {
    pub(super) fn listeners(&mut self, config: &Config) {
        let root = At::root();
        // Whichever has one: they are all the same, or that is an error of its own.
        let forges = config.forges();
        let webhook = forges.iter().find_map(|(name, forge)| Some((name, forge.webhook()?.listen)));
        let listen =
            webhook.map_or(At::root(), |(name, _)| section(config, name).key("webhook").key("listen"));
        let mut listeners = vec![
            (root.key("bind_address"), config.bind_address),
            (root.key("metrics").key("address"), config.metrics.listen().map(ListenAddress)),
            (listen, webhook.map(|(_, address)| address)),
        ];
        let cache = &config.registry_cache;
        let mirrors = root.key("registry_cache").key("mirrors");
        let at_gateway = |port: u16| ListenAddress((config.network.gateway(), port).into());
        let is_zot = cache.program == Some(CacheProgram::Zot);
        if is_zot && cache.enabled {
            // One port for all registries.
            listeners.push((root.key("registry_cache").key("port"), Some(at_gateway(cache.port))));
        }
        for upstream in cache.upstreams().iter().filter(|_| cache.enabled && !is_zot) {
            let own = mirrors.key(upstream.name.as_str().to_owned()).key("port");
            listeners.push((own, Some(at_gateway(upstream.port))));
        }
        let proxy = listeners.len();
        let address = Some(at_gateway(cache.proxy.port)).filter(|_| cache.enabled && cache.proxy.enabled);
        listeners.push((root.key("registry_cache").key("proxy").key("port"), address));
        let caches = listeners.len();
        let cache = &config.actions_cache;
        let address = Some(at_gateway(cache.port)).filter(|_| cache.enabled);
        listeners.push((root.key("actions_cache").key("port"), address));
        for (index, (at, address)) in listeners.iter().enumerate() {
            let Some(address) = address else { continue };
            for (other, taken) in &listeners[..index] {
                let Some(taken) = taken.filter(|taken| overlap(address.0, taken.0)) else { continue };
                let help = match index {
                    1 => "give the metrics another port, or use the API, which serves /metrics too",
                    2 => "use another port: the forge must reach the webhook, but not the other listener",
                    index if index == proxy => "give the proxy another port with registry_cache.proxy.port",
                    index if index >= caches => "give the cache of actions another port",
                    _ => {
                        "give the cache other ports with registry_cache.port, or this registry one of its own"
                    }
                };
                let message = format!("{at} {} uses the port of {other} {}", address.0, taken.0);
                self.error(at, &[other], message, help);
            }
        }
    }
}
