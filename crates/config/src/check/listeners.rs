//! No two listeners can have one address.

use fireactions_model::network_rules::overlap;

use super::{At, Check};
use crate::Config;

impl Check<'_> {
    pub(super) fn listeners(&mut self, config: &Config) {
        let root = At::root();
        let webhook = config.github.as_ref().and_then(|github| github.webhook.as_ref());
        let listeners = [
            ("bind_address", root.key("bind_address"), config.bind_address),
            (
                "metrics.address",
                root.key("metrics").key("address"),
                config.metrics.enabled.then_some(config.metrics.address),
            ),
            (
                "github.webhook.listen",
                root.key("github").key("webhook").key("listen"),
                webhook.map(|webhook| webhook.listen),
            ),
        ];
        for (index, (name, at, address)) in listeners.iter().enumerate() {
            let Some(address) = address else { continue };
            for (other, place, taken) in &listeners[..index] {
                let Some(taken) = taken.filter(|taken| overlap(address.0, taken.0)) else { continue };
                let help = if *name == "metrics.address" {
                    "give the metrics another port, or leave them to the API, which serves /metrics too"
                } else {
                    "use another port: GitHub must reach the webhook, and nobody else the other"
                };
                let message = format!("{name} {} takes the port of {other} {}", address.0, taken.0);
                self.error(at, &[place], message, help);
            }
        }
    }
}
