use std::time::Duration;

use fireactions_testkit::corpus;
use proptest::prelude::*;

use super::config as judge;

/// How long this thread has had a processor, however many others wanted it (`proc_pid_schedstat`(5)).
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn seeds() {
    corpus::each("config", |seed| {
        let started = busy();
        judge(seed);
        let took = busy().saturating_sub(started);
        assert!(took < Duration::from_secs(10), "it took {took:?}");
    });
}

/// Text that is nearly a configuration: real keys and values, put together at random.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "pools",
        "name",
        "runner",
        "image",
        "labels",
        "firecracker",
        "machine_config",
        "vcpu_count",
        "kernel",
        "min_runners",
        "max_runners",
        "github",
        "forges",
        "kind",
        "gitea",
        "scope",
        "forge",
        "url",
        "api_token_file",
        "app_private_key",
        "bind_address",
        "deadlines",
        "gitlab",
        "instanceURL",
        "runnerScope",
        "maxRunners",
        "kernelArgs",
        "server",
        "address",
        "webhook_secret",
        "containerd",
        "shutdown_on_exit",
        "cni_conf_dir",
        "user-data",
        "replicas",
        "organization",
        "$X",
        "yes",
        "1.10",
        "boot",
        "metadata",
        "0.0.0.0:80",
        "30s",
        "-1",
        "1e400",
        ".nan",
        "~",
        "null",
        "true",
        "99999999999999999999",
        "'",
        "\"",
        "é",
        "\u{feff}",
        "&a",
        "*a",
        "<<",
        "!!binary",
        "!x",
        "|",
        ">",
        "?",
        "%YAML",
        "---",
        "...",
        "#",
    ]);
    let glue = prop::sample::select(vec![
        ": ", ":\n  ", "\n", "\n- ", "\n    ", ", ", " {", "} ", " [", "] ", " ", "\t", "\r\n", "",
    ]);
    prop::collection::vec((word, glue), 0..60)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, glue)| [word, glue]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        judge(&bytes);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        judge(text.as_bytes());
    }

    #[test]
    fn nearly_a_configuration(text in nearly_yaml()) {
        judge(text.as_bytes());
    }

    /// A right file with one byte changed.
    #[test]
    fn one_byte_off(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = include_bytes!("../../../../examples/config.yaml").to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        judge(&bytes);
    }

    /// A right file, cut off.
    #[test]
    fn cut_off(at in any::<prop::sample::Index>()) {
        let bytes = include_bytes!("../../../../examples/config.yaml");
        judge(&bytes[..at.index(bytes.len())]);
    }
}

#[test]
fn large_files_take_bounded_time() {
    let started = busy();
    let many_keys: String =
        (0..60_000).flat_map(|n| ["k".to_owned(), n.to_string(), ": 1\n".to_owned()]).collect();
    let nested = format!("pools:\n- name: a\n  firecracker:\n    metadata: {{{}}}\n", "x: [".repeat(20_000));
    let same_key = "log_level: info\n".repeat(50_000);
    let wrong: String = "pools:\n".to_owned() + &"- name: {}\n".repeat(20_000);
    let long = format!("log_level: {}\n", "x".repeat(1_000_000));
    for text in [many_keys, nested, same_key, wrong, long] {
        judge(text.as_bytes());
    }
    let took = busy().saturating_sub(started);
    assert!(took < Duration::from_secs(60), "{took:?}");
}
