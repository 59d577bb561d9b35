//! The scripts that units run before the server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::nix::repository;

fn script(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(repository().join("nix").join(name));
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_token_is_made_once_and_is_root_s_alone() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("api-token");
    let make = || script("make-token.sh").arg(&token).output().unwrap();
    let first = make();
    assert!(first.status.success(), "{}", said(&first));
    assert!(String::from_utf8_lossy(&first.stdout).contains("made a token for the API"));
    let text = fs::read_to_string(&token).unwrap();
    assert!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let second = make();
    assert!(second.status.success() && second.stdout.is_empty(), "nothing is told of a token that is there");
    assert_eq!(fs::read_to_string(&token).unwrap(), text);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

fn fill_in(dir: &Path, template: &str, values: &[(&str, &str)]) -> Result<String, String> {
    let credentials = dir.join("credentials");
    fs::create_dir_all(&credentials).unwrap();
    fs::write(dir.join("template"), template).unwrap();
    for (name, value) in values {
        fs::write(credentials.join(name), value).unwrap();
    }
    let result = dir.join("result");
    let output = script("fill-in.sh")
        .arg(dir.join("template"))
        .arg(&result)
        .args(values.iter().map(|(name, _)| name))
        .env("CREDENTIALS_DIRECTORY", &credentials)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(said(&output));
    }
    assert_eq!(fs::metadata(&result).unwrap().permissions().mode() & 0o777, 0o600);
    Ok(fs::read_to_string(result).unwrap())
}

#[test]
fn values_of_files_are_filled_in_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let filled = fill_in(
        dir.path(),
        "url: \"@gitea-instance-url@\"\nrepository: \"@owner@/@repo@\"\nagain: @owner@\n",
        &[
            ("gitea-instance-url", "https://git.example.com/x~y\n"),
            ("owner", "acme"),
            ("repo", "site.web_1\n\nsecond line"),
        ],
    );
    assert_eq!(
        filled.unwrap(),
        "url: \"https://git.example.com/x~y\"\nrepository: \"acme/site.web_1\"\nagain: acme\n"
    );
}

#[test]
fn a_value_cannot_change_the_configuration_s_form() {
    for value in ["", "\n", "1\", \"github\": {", "a b", "$(id)", "a\tb", "x'y", "a\\b"] {
        let dir = tempfile::tempdir().unwrap();
        let said = fill_in(dir.path(), "id: \"@github-app-id@\"", &[("github-app-id", value)]).unwrap_err();
        assert!(said.contains("the file of github-app-id"), "{value:?}: {said}");
        assert!(!dir.path().join("result").exists(), "{value:?}");
    }
}

/// The service manager gives credentials to a start, and none to a reload.
#[test]
fn a_reload_fills_a_changed_template_with_the_values_of_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let reload = || {
        let mut again = script("fill-in.sh");
        again.arg(dir.path().join("template")).arg(dir.path().join("result")).arg("github-app-id");
        again.env_remove("CREDENTIALS_DIRECTORY").output().unwrap()
    };
    fs::write(dir.path().join("template"), "id: @github-app-id@\n").unwrap();
    let early = reload();
    assert!(!early.status.success() && said(&early).contains("restart the service"), "{}", said(&early));
    fill_in(dir.path(), "id: @github-app-id@\n", &[("github-app-id", "12345\n")]).unwrap();
    let kept = dir.path().join("result.values");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(kept.join("github-app-id")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(dir.path().join("template"), "log_level: debug\nid: @github-app-id@\n").unwrap();
    let output = reload();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read_to_string(dir.path().join("result")).unwrap(), "log_level: debug\nid: 12345\n");
}

#[test]
fn every_script_parses() {
    let mut scripts = 0;
    for entry in fs::read_dir(repository().join("nix")).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "sh") {
            let output = Command::new("sh").arg("-n").arg(entry.path()).output().unwrap();
            assert!(output.status.success(), "{}", said(&output));
            scripts += 1;
        }
    }
    assert!(scripts >= 4, "{scripts}");
}
