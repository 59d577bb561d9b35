//! Zot as a pull-through cache of all registries.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::cache::{HUB, zot_prefix};
use crate::login::host;
use crate::{Cache, Login, Upstream};

/// Zot's configuration. `logins`: the file that [`zot_logins`] is written to.
pub fn zot(cache: &Cache, logins: Option<&Path>) -> String {
    let registry = |upstream: &Upstream| {
        let mut content = json!({"prefix": "**"});
        if upstream.name != HUB {
            content["destination"] = format!("/{}", zot_prefix(&upstream.name)).into();
        }
        json!({
            "urls": [upstream.url],
            "onDemand": true,
            "tlsVerify": upstream.url.starts_with("https://"),
            // Images are named by their digests, also those of Docker's own form.
            "preserveDigest": true,
            // Whoever pulls waits for these tries, also for what is cached.
            "maxRetries": 2,
            "retryDelay": "1s",
            "content": [content],
        })
    };
    // Docker Hub's names are at the root and so have no bound: each other registry is asked before it.
    let (hub, others): (Vec<_>, Vec<_>) = cache.upstreams.iter().partition(|one| one.name == HUB);
    let mut sync = json!({
        "enable": true,
        "registries": others.into_iter().chain(hub).map(registry).collect::<Vec<_>>(),
    });
    if let Some(file) = logins {
        sync["credentialsFile"] = file.to_string_lossy().into();
    }
    let config = json!({
        "distSpecVersion": "1.1.1",
        "storage": {"rootDirectory": cache.directory("zot"), "gc": true, "gcDelay": "1h", "gcInterval": "24h"},
        "http": {
            "address": cache.gateway,
            "port": cache.port.to_string(),
            "compat": ["docker2s2"],
            // Without it, whoever reaches Zot may push, and a guest's image would be the next machine's.
            "accessControl": {"repositories": {"**": {"anonymousPolicy": ["read"]}}},
        },
        "log": {"level": "warn"},
        "extensions": {"sync": sync},
    });
    format!("{config:#}\n")
}

/// The logins as Zot reads them, for it alone; nothing where no registry has one.
pub fn zot_logins(cache: &Cache) -> Option<String> {
    let logins: BTreeMap<&str, &Login> = cache
        .upstreams
        .iter()
        .filter_map(|upstream| Some((host(&upstream.url), upstream.login.as_ref()?)))
        .collect();
    let text = serde_json::to_value(&logins).unwrap_or(Value::Null).to_string();
    (!logins.is_empty()).then_some(text)
}
