//! The cache of registries with a real Zot, where there is one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};

use fireactions_testkit::{busybox, skip};

use crate::registry_cache::{HUB, Lab, until};

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_serves_all_registries_at_one_port_and_what_it_has_without_them() {
    if Command::new("zot").arg("--version").output().is_err() {
        skip::say(skip::Kind::Zot, "it_serves_all_registries_at_one_port", "there is no zot in PATH");
        return;
    }
    let login = tempfile::NamedTempFile::new().unwrap();
    fs::write(&login, r#"{"127.0.0.1:5101": {"username": "user", "password": "secret"}}"#).unwrap();
    fs::set_permissions(&login, fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!(", credentials_file: {}", login.path().display());
    let mut lab = Lab::of("program: zot", &file, |_| String::new());
    lab.make_bridge();
    lab.push("127.0.0.1:5100", "team/app:v1", &[]);
    lab.push("127.0.0.1:5101", "team/tool:v1", &["--dest-creds", "user:secret"]);
    lab.answers(HUB);
    let closed = format!("{HUB}/closed.example");

    assert_eq!(lab.pull(HUB, "team/app:v1"), (true, String::new()), "{}", lab.log());
    assert_eq!(lab.pull(&closed, "team/tool:v1"), (true, String::new()), "{}", lab.log());
    // Nobody puts anything there, under whichever name.
    for name in ["team/app:v1", "team/app:v2", "closed.example/team/tool:v1"] {
        let to = format!("docker://{HUB}/{name}");
        let (pushed, said) = lab.copy(&busybox::reference(), &to, &["--dest-tls-verify=false"]);
        assert!(!pushed, "{name}: {said}");
    }

    end(&mut lab.open);
    end(&mut lab.closed);
    assert_eq!(lab.pull(HUB, "team/app:v1"), (true, String::new()), "{}", lab.log());
    assert_eq!(lab.pull(&closed, "team/tool:v1"), (true, String::new()), "{}", lab.log());
    assert!(!lab.pull(HUB, "team/app:v2").0);

    let zots =
        || lab.namespace.processes().into_iter().filter(|(_, line)| line.contains("zot serve")).count();
    assert_ne!(zots(), 0);
    assert!(Command::new("kill").arg(lab.cache.id().to_string()).status().unwrap().success());
    until("Zot to end with who keeps it", || (zots() == 0).then_some(()));
}
