//! `fireactions migrate`, and `validate` of what it prints.

use std::process::{Command, Output};

use std::fs;
use std::path::Path;

const OLD: &str = "bind_address: 0.0.0.0:8080
github:
  app_id: $GITHUB_APP_ID
  app_private_key: |
    -----BEGIN RSA PRIVATE KEY-----
    hunter2hunter2
pools:
- name: default
  replicas: 2
  shutdown_on_exit: true
  runner: {name: default, image: registry.example.com/runner:1, organization: acme, labels: [self-hosted]}
  firecracker: {binary_path: firecracker, kernel_image_path: /k, kernel_args: console=ttyS0 noapic reboot=k panic=1 rw}
";

fn fireactions(command: &str, file: &Path) -> Output {
    let mut fireactions = Command::new(env!("CARGO_BIN_EXE_fireactions"));
    fireactions.arg(command).arg(file).output().unwrap()
}

#[test]
fn an_old_file_is_printed_as_ours() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old.yaml"), dir.path().join("new.yaml"));
    fs::write(&old, OLD).unwrap();
    let refused = fireactions("validate", &old);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("app_private_key_file: ") && !told.contains("hunter2"), "{told}");

    let migrated = fireactions("migrate", &old);
    let told = String::from_utf8(migrated.stderr).unwrap();
    assert_eq!(migrated.status.code(), Some(0), "{told}");
    assert_eq!(told, "fireactions: one line is yours to finish: the one below '# TODO'\n");
    let text = String::from_utf8(migrated.stdout).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    fs::write(&new, &text).unwrap();
    let valid = fireactions("validate", &new);
    let told = String::from_utf8(valid.stdout).unwrap();
    assert!(told.ends_with("new.yaml: valid, 1 pool\n"), "{told}\n{text}");
    assert!(!told.contains("warning"), "{told}\n{text}");

    fs::write(&old, "gitlab: {accessToken: hunter2hunter2}\n").unwrap();
    let refused = fireactions("migrate", &old);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.stdout.is_empty() && refused.status.code() == Some(1), "{told}");
    assert!(told.contains("GitLab is not supported yet") && !told.contains("hunter2"), "{told}");
}
