//! The real programs read what they are told.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use fireactions_registry_cache::{Bump, Listen, Program, docker_registry, nft, zot};
use fireactions_testkit::skip;

use crate::golden::{cache, proxied, squid_of};

#[test]
fn nft_takes_the_rules() {
    for program in [Program::Zot, Program::DockerRegistry] {
        let mut child = Command::new("unshare")
            .args(["--net", "nft", "-c", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux) is needed");
        child.stdin.take().unwrap().write_all(nft(&cache(program)).as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

/// It reads its whole file before it asks the registry, which is nowhere here.
#[test]
fn docker_registry_takes_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut cache = cache(Program::DockerRegistry);
    dir.path().clone_into(&mut cache.storage);
    cache.gateway = [127, 0, 0, 1].into();
    cache.upstreams[2].url = "http://127.0.0.1:1".to_owned();
    let file = dir.path().join("config.yml");
    std::fs::write(&file, docker_registry(&cache, &cache.upstreams[2], Listen::Gateway)).unwrap();
    let run = |file: &std::path::Path| {
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is needed (make setup installs it)");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said: Vec<String> = lines.collect();
        child.wait().unwrap();
        said.join("\n")
    };
    let said = run(&file);
    assert!(said.contains("127.0.0.1:1") && said.contains("connection refused"), "{said}");
    // What it does not read, it says.
    std::fs::write(&file, "version: 0.1\nproxy: [7]\n").unwrap();
    let said = run(&file);
    assert!(said.contains("configuration error"), "{said}");
}

/// It reads its whole file, the authority's, too, which OpenSSL makes here.
#[test]
fn squid_takes_its_file() {
    let unpacked = std::env::var("FIREACTIONS_CACHE").unwrap_or_else(|_| "/var/cache/fireactions".to_owned());
    let tops = [std::path::Path::new(&unpacked).join("tools/usr"), "/usr".into()];
    let Some(top) = tops.into_iter().find(|top| top.join("lib/squid/security_file_certgen").exists()) else {
        let why = "there is no squid with OpenSSL (`scripts/setup --test` fetches Debian's squid-openssl)";
        skip::say(skip::Kind::Squid, "squid_takes_its_file", why);
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (dir.path().join("ca.key"), dir.path().join("ca.pem"));
    let made = Command::new("openssl")
        .args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .stderr(Stdio::null())
        .status()
        .expect("openssl is needed");
    assert!(made.success());
    let file = dir.path().join("squid.conf");
    let parse = |text: String| {
        std::fs::write(&file, text).unwrap();
        let libraries = format!("{0}/lib/x86_64-linux-gnu:{0}/lib/aarch64-linux-gnu", top.display());
        let mut command = Command::new(top.join("sbin/squid"));
        command.args(["-k", "parse", "-f"]).arg(&file).env("LD_LIBRARY_PATH", libraries);
        let ended = command.output().unwrap();
        (ended.status.success(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    for bump in [Bump::Off, Bump::All, Bump::Selective(vec![".example.com".to_owned(), "a.b".to_owned()])] {
        let mut cache = proxied(bump);
        dir.path().clone_into(&mut cache.storage);
        let text = squid_of(&cache, dir.path(), &top.join("lib/squid/security_file_certgen"));
        let (taken, said) = parse(text.clone());
        assert!(taken && !said.contains("ERROR") && !said.contains("WARNING"), "{said}");
        let (taken, said) = parse(format!("{text}http_access dany all\n"));
        assert!(!taken || said.contains("dany"), "{said}");
    }
}

#[test]
fn zot_takes_its_file() {
    let there = Command::new("zot").arg("--version").output().is_ok();
    if !there {
        skip::say(skip::Kind::Zot, "zot_takes_its_file", "there is no zot in PATH");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut cache = cache(Program::Zot);
    dir.path().clone_into(&mut cache.storage);
    let file = dir.path().join("zot.json");
    std::fs::write(&file, zot(&cache, None)).unwrap();
    let ended = Command::new("zot").arg("verify").arg(&file).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
