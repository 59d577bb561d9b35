//! What the section about the cache of registries means.

use std::path::Path;

use fireactions_config::{Config, Host, parse};

fn config(section: &str) -> Config {
    let text = format!("kernel: {{image: /k}}\nregistry_cache: {section}\npools: []\n");
    parse(Path::new("c"), text.as_bytes(), &Host::unknown()).unwrap().config
}

fn upstreams(section: &str) -> Vec<(String, String, u16)> {
    let cache = config(section).registry_cache;
    cache.upstreams().into_iter().map(|one| (one.name.as_str().to_owned(), one.url, one.port)).collect()
}

fn expect(list: &[(&str, &str, u16)]) -> Vec<(String, String, u16)> {
    list.iter().map(|(name, url, port)| ((*name).to_owned(), (*url).to_owned(), *port)).collect()
}

#[test]
fn names_are_enough_and_docker_hub_is_first() {
    let hub = ("docker.io", "https://registry-1.docker.io", 5000);
    assert_eq!(
        upstreams("{enabled: true, mirrors: {a.example: {}, docker.io: {}, ghcr.io: {}}}"),
        expect(&[hub, ("a.example", "https://a.example", 5001), ("ghcr.io", "https://ghcr.io", 5002)])
    );
    assert_eq!(
        upstreams("{enabled: true}"),
        expect(&[
            hub,
            ("gcr.io", "https://gcr.io", 5001),
            ("ghcr.io", "https://ghcr.io", 5002),
            ("quay.io", "https://quay.io", 5003)
        ])
    );
}

#[test]
fn what_is_said_of_a_registry_counts() {
    assert_eq!(
        upstreams(
            "{port: 6000, mirrors: {docker.io: {url: \"https://hub.example.com/\"}, \"r.lan:5000\": {port: 7000}}}"
        ),
        expect(&[("docker.io", "https://hub.example.com", 6000), ("r.lan:5000", "https://r.lan:5000", 7000)])
    );
}

#[test]
fn without_a_word_there_is_no_cache() {
    assert!(!config("{}").registry_cache.enabled);
    let network = config("{}").network;
    assert_eq!(network.gateway().to_string(), "172.30.0.1");
}
