//! Each file, whole.

use std::fmt::Write as _;
use std::path::Path;

use fireactions_guest_proto::{DropIn, Form};
use fireactions_registry_cache::{
    Bump, Cache, Listen, Login, Program, Proxy, SquidFiles, Upstream, docker_registry, docker_registry_alone,
    drop_ins, environment, nft, squid, trusted, zot, zot_logins,
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
        proxy: None,
    }
}

pub(crate) fn proxied(bump: Bump) -> Cache {
    let guests = vec!["172.30.0.0/22".to_owned(), "2001:db8::/64".to_owned()];
    let proxy = Proxy { port: 3128, bump, max_size_mib: 1024, memory_cache_mib: 64, guests };
    Cache { proxy: Some(proxy), ..cache(Program::DockerRegistry) }
}

/// Squid's configuration, with the authority and what is made by it below `directory`.
pub(crate) fn squid_of(cache: &Cache, directory: &Path, certgen: &Path) -> String {
    let files = SquidFiles {
        certificate: &directory.join("ca.pem"),
        key: &directory.join("ca.key"),
        certgen,
        made: &directory.join("made"),
        host: &["198.41.0.4".parse().unwrap(), "2a00::1".parse().unwrap()],
    };
    squid(cache, files).unwrap()
}

#[test]
fn squid_is_told_what_it_opens_and_where_it_may_lead() {
    let of = |bump| squid_of(&proxied(bump), Path::new("/c"), Path::new("/certgen"));
    let domains = vec![".example.com".to_owned(), "a.b".to_owned()];
    insta::assert_snapshot!("squid_selective", of(Bump::Selective(domains)));
    let (off, all) = (of(Bump::Off), of(Bump::All));
    assert!(off.contains("http_port 172.30.0.1:3128\n") && !off.contains("bump"), "{off}");
    assert!(!off.contains("certgen") && !off.contains("ca.key"), "{off}");
    assert!(all.contains("ssl_bump bump all"), "{all}");
    for text in [off, all] {
        let denied = text.lines().find(|line| line.starts_with("acl inside dst ")).unwrap();
        assert!(denied.contains(" 169.254.0.0/16 "), "{denied}");
        assert!(text.contains("acl own dst 172.30.0.0/22 2001:db8::/64 198.41.0.4 2a00::1\n"), "{text}");
        assert!(text.find("deny own") < text.find("allow guests"), "{text}");
        assert!(text.find("deny inside") < text.find("allow guests"), "{text}");
    }
}

#[test]
fn guests_are_told_of_the_proxy_and_whom_to_trust() {
    let names: Vec<_> = environment(&proxied(Bump::Off)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"]);
    let all = environment(&proxied(Bump::All));
    let value = |name: &str| all.iter().find(|(own, _)| own == name).unwrap().1.clone();
    assert_eq!(value("HTTPS_PROXY"), "http://172.30.0.1:3128");
    assert!(value("no_proxy").contains(",172.30.0.1,"));
    assert_eq!(environment(&cache(Program::Zot)), []);
    insta::assert_snapshot!("guest_trust", files(&trusted("-----CERTIFICATE-----")));
}

fn files(list: &[DropIn]) -> String {
    let mut text = String::new();
    for DropIn { path, text: body, meets, readers, form, variable, .. } in list {
        let form = if *form == Form::Text { String::new() } else { format!("; {form:?}") };
        let variable = variable.as_ref().map(|(name, value)| format!("; {name}={value}")).unwrap_or_default();
        let _ = writeln!(text, "# {path} ({meets:?}; for {}{form}{variable})\n{body}", readers.join(", "));
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
    assert!(nft(&proxied(Bump::Off)).contains("tcp dport { 3128, 5000, 5001, 5002 } drop"));
}
