//! What is wrong before there is a job: exit code 1, in the words of the real programs.

use crate::program::Program;

const FILE: &str = r#"{"id": 1, "uuid": "u", "name": "one", "token": "t", "address": "http://127.0.0.1:1", "labels": ["a:host"]}"#;
/// Of `one-job`, at a port where nobody is.
const AT: [&str; 8] =
    ["one-job", "--url", "http://127.0.0.1:1", "--uuid", "u", "--token-url", "file://DIR/token", "--label"];

fn ended(words: &[&str], files: &[(&str, &str)]) -> (Option<i32>, Vec<String>) {
    Program::start(words, files).ended()
}

#[test]
fn of_act_runner() {
    let starting = "level=info msg=\"Starting runner daemon\"";
    let (code, lines) = ended(&["daemon"], &[]);
    assert_eq!(
        (code, lines.as_slice()),
        (
            Some(1),
            &[
                starting.to_owned(),
                "level=error msg=\"registration file not found, please register the runner first\""
                    .to_owned(),
                "Error: open .runner: no such file or directory".to_owned(),
            ][..]
        )
    );
    let (code, lines) = ended(&["daemon"], &[(".runner", FILE)]);
    let refused = "unavailable: dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(
        (code, lines.as_slice()),
        (
            Some(1),
            &[
                starting.to_owned(),
                format!("level=error msg=\"fail to invoke Declare\" error=\"{refused}\""),
                format!("Error: {refused}"),
            ][..]
        )
    );
    let docker = FILE.replace("a:host", "a:docker://node:20");
    let (code, lines) = ended(&["daemon"], &[(".runner", &docker)]);
    assert_eq!(
        (code, lines.as_slice()),
        (
            Some(1),
            &[
                starting.to_owned(),
                "Error: daemon Docker Engine socket not found and docker_host config was invalid".to_owned(),
            ][..]
        )
    );
}

#[test]
fn of_forgejo_runner() {
    let one = |words: &[&str], files: &[(&str, &str)]| {
        let (code, lines) = ended(words, files);
        assert_eq!(code, Some(1), "{lines:?}");
        lines.last().unwrap().clone()
    };
    assert_eq!(
        one(&["one-job", "--label", "a:host"], &[]),
        "Error: one-job is only supported with a single connection, but 0 connections are configured"
    );
    assert_eq!(one(&["one-job", "--url", "http://a"], &[]), "Error: invalid configuration: `uuid` is empty");
    assert_eq!(
        one(&["one-job", "--url", "http://a", "--uuid", "u", "--token-url", "file:token"], &[]),
        "Error: invalid configuration: invalid `token-url`: cannot read secret \"file:token\": open : no such file or directory"
    );
    assert_eq!(
        one(&["-c", "nosuch.yaml", "one-job"], &[]),
        "Error: invalid configuration: cannot open config file \"nosuch.yaml\": \"open nosuch.yaml: no such file or directory\""
    );
    let token = [("token", "t\n")];
    assert_eq!(
        one(&[&AT[..], &["plain"]].concat(), &token),
        "Error: daemon Docker Engine socket not found and docker_host config was invalid"
    );
    assert_eq!(
        one(&[&AT[..], &["a:host"]].concat(), &token),
        "Error: unavailable: dial tcp 127.0.0.1:1: connect: connection refused"
    );
}
