//! Each file, whole.

use std::fmt::Write as _;
use std::path::Path;

use fireactions_guest_proto::DropIn;
use fireactions_registry_cache::{
    Cache, Listen, Login, Program, Upstream, docker_registry, docker_registry_alone, drop_ins, nft, zot,
    zot_logins,
};

pub(crate) fn upstream(name: &str, url: &str, port: u16) -> Upstream {
    Upstream { name: name.to_owned(), url: url.to_owned(), port, login: None }
}

pub(crate) fn cache(program: Program) -> Cache {
    let mut private = upstream("r.example.com:5000", "https://r.example.com:5000", 5002);
    let logins = r#"{"r.example.com:5000": {"username": "ci", "password": "a \"quoted\" pass: word"}}"#;
    private.login = Some(Login::find(logins, &private.url).unwrap());
    Cache {
        program,
        bridge: "fireactions0".to_owned(),
        gateway: [172, 30, 0, 1].into(),
        port: 5000,
        storage: "/var/cache/fireactions-registry".into(),
        upstreams: vec![
            upstream("docker.io", "https://registry-1.docker.io", 5000),
            upstream("ghcr.io", "https://ghcr.io", 5001),
            private,
        ],
    }
}

fn files(list: &[DropIn]) -> String {
    let mut text = String::new();
    for DropIn { path, text: body, meets, readers, .. } in list {
        let _ = writeln!(text, "# {path} ({meets:?}; for {})\n{body}", readers.join(", "));
    }
    text
}

#[test]
fn docker_registry_is_told_its_registry() {
    let cache = cache(Program::DockerRegistry);
    insta::assert_snapshot!("docker_registry", docker_registry(&cache, &cache.upstreams[0], Listen::Gateway));
    let socket = Listen::Socket(Path::new("/run/2.sock"));
    insta::assert_snapshot!(
        "docker_registry_with_login",
        docker_registry(&cache, &cache.upstreams[2], socket)
    );
    let alone = docker_registry_alone(&cache, &cache.upstreams[2], socket);
    insta::assert_snapshot!("docker_registry_alone", alone);
}

#[test]
fn zot_is_told_all_registries() {
    let cache = cache(Program::Zot);
    insta::assert_snapshot!("zot", zot(&cache, Some(Path::new("/run/logins.json"))));
    assert_eq!(
        zot_logins(&cache).unwrap(),
        r#"{"r.example.com:5000":{"password":"a \"quoted\" pass: word","username":"ci"}}"#
    );
    let mut bare = cache;
    bare.upstreams.truncate(2);
    assert_eq!(zot_logins(&bare), None);
    assert!(!zot(&bare, None).contains("credentialsFile"));
}

#[test]
fn guests_are_told_where_their_images_are() {
    insta::assert_snapshot!("guest_docker_registry", files(&drop_ins(&cache(Program::DockerRegistry))));
    insta::assert_snapshot!("guest_zot", files(&drop_ins(&cache(Program::Zot))));
}

#[test]
fn a_registry_that_is_not_cached_is_not_named() {
    let mut cache = cache(Program::DockerRegistry);
    cache.upstreams.remove(0);
    let text = files(&drop_ins(&cache));
    assert!(!text.contains("docker.io") && !text.contains("daemon.json"), "{text}");
    cache.upstreams.clear();
    assert_eq!(drop_ins(&cache), []);
}

/// The login is for the one process that uses it.
#[test]
fn no_password_is_in_what_guests_and_people_see() {
    for program in [Program::Zot, Program::DockerRegistry] {
        let cache = cache(program);
        let seen = format!("{}{}{}{cache:?}", files(&drop_ins(&cache)), nft(&cache), zot(&cache, None));
        assert!(!seen.contains("quoted"), "{seen}");
    }
}

#[test]
fn a_firewall_is_told_the_ports() {
    insta::assert_snapshot!("nft_docker_registry", nft(&cache(Program::DockerRegistry)));
    assert!(nft(&cache(Program::Zot)).contains("tcp dport { 5000 } drop"));
}
