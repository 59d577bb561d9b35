//! No two listeners can have one address.

use fireactions_model::network_rules::overlap;

use super::forges::section;
use super::{At, Check};
use crate::{Config, ListenAddress};

impl Check<'_> {
    pub(super) fn listeners(&mut self, config: &Config) {
        let root = At::root();
        // Whichever has one: they are all the same, or that is an error of its own.
        let forges = config.forges();
        let webhook = forges.iter().find_map(|(name, forge)| Some((name, forge.webhook()?.listen)));
        let listen =
            webhook.map_or(At::root(), |(name, _)| section(config, name).key("webhook").key("listen"));
        let listeners = [
            (root.key("bind_address"), config.bind_address),
            (root.key("metrics").key("address"), config.metrics.listen().map(ListenAddress)),
            (listen, webhook.map(|(_, address)| address)),
        ];
        for (index, (at, address)) in listeners.iter().enumerate() {
            let Some(address) = address else { continue };
            for (other, taken) in &listeners[..index] {
                let Some(taken) = taken.filter(|taken| overlap(address.0, taken.0)) else { continue };
                let help = if index == 1 {
                    "give the metrics another port, or use the API, which serves /metrics too"
                } else {
                    "use another port: the forge must reach the webhook, but not the other listener"
                };
                let message = format!("{at} {} uses the port of {other} {}", address.0, taken.0);
                self.error(at, &[other], message, help);
            }
        }
    }
}
