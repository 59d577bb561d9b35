//! What people read when their file is wrong. Each case is a snapshot in `tests/snapshots/`.

use std::fmt::Write as _;
use std::path::Path;

use fireactions_config::{Host, parse};

/// A right pool, for mistakes elsewhere.
const POOL: &str = "kernel: {image: /k}
pools:
  - name: a
    max_runners: 2
    runner: {image: debian, labels: [x]}
";

const HOST: Host = Host { vcpus: Some(4), memory_mib: Some(4096) };

fn told(text: &str) -> String {
    match parse(Path::new("/etc/fireactions/config.yaml"), text.as_bytes(), &HOST) {
        Ok(loaded) => {
            let list: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
            format!("accepted, with warnings:\n{}", list.join("\n\n"))
        }
        Err(errors) => errors.to_string(),
    }
}

fn with_pool(text: &str) -> String {
    told(&format!("{text}{POOL}"))
}

/// A pool with `text` in it, indented as its keys are.
fn in_pool(text: &str) -> String {
    told(&format!("{POOL}{text}"))
}

fn in_firecracker(text: &str) -> String {
    told(&format!("vmm: {{driver: firecracker}}\n{POOL}{text}"))
}

macro_rules! mistakes {
    ($($name:ident: $told:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), $told);
        })*
    };
}

mistakes! {
    unknown_key: with_pool("bind_adress: 127.0.0.1:80\n");
    unknown_key_without_neighbour: with_pool("colour: red\n");
    unknown_key_in_pool: in_pool("    min_runner: 1\n");
    unknown_key_other_spelling: in_pool("    minRunners: 1\n");
    unknown_key_nested: in_pool("    firecracker: {machine_config: {vcpus: 2}}\n");
    wrong_type_number: in_pool("    min_runners: two\n");
    wrong_type_bool: with_pool("metrics: {enabled: yes please}\n");
    wrong_type_section: with_pool("metrics: true\n");
    wrong_type_list: told("pools: {name: a}\n");
    wrong_type_text: in_pool("    init: 7\n");
    wrong_type_label: told("kernel: {image: /k}\npools: [{name: a, max_runners: 1, runner: {image: i, labels: [1.10]}}]\n");
    negative_number: in_pool("    min_runners: -1\n");
    fraction: in_pool("    min_runners: 1.5\n");
    unknown_value: with_pool("log_level: inof\n");
    unknown_pull_policy: told("kernel: {image: /k}\npools:\n  - name: a\n    max_runners: 1\n    runner:\n      image: i\n      image_pull_policy: always\n      labels: [x]\n");
    zero_vcpus: in_pool("    firecracker: {machine_config: {vcpu_count: 0}}\n");
    too_many_vcpus: in_pool("    firecracker: {machine_config: {vcpu_count: 300}}\n");
    more_vcpus_than_host: in_pool("    firecracker: {machine_config: {vcpu_count: 16}}\n");
    more_memory_than_host: in_pool("    firecracker:\n      machine_config:\n        mem_size_mib: 8192\n");
    minimum_above_maximum: in_pool("    min_runners: 3\n");
    maximum_missing: told("kernel: {image: /k}\npools:\n  - name: a\n    runner: {image: i, labels: [x]}\n");
    maximum_and_replicas: in_pool("    replicas: 3\n");
    runner_missing: told("kernel: {image: /k}\npools:\n  - name: a\n    max_runners: 1\n");
    image_missing: told("kernel: {image: /k}\npools:\n  - name: a\n    max_runners: 1\n    runner:\n      labels: [x]\n");
    image_empty: told("kernel: {image: /k}\npools:\n  - name: a\n    max_runners: 1\n    runner:\n      image:\n      labels: [x]\n");
    pool_name_invalid: told("kernel: {image: /k}\npools:\n  - name: my pool\n    max_runners: 1\n    runner: {image: i, labels: [x]}\n");
    pool_name_twice: in_pool("  - name: a\n    max_runners: 1\n    runner: {image: i, labels: [x]}\n");
    key_twice: with_pool("log_level: info\nlog_level: debug\n");
    no_kernel: told("pools:\n  - name: a\n    max_runners: 1\n    runner: {image: i, labels: [x]}\n");
    path_not_absolute: with_pool("state_dir: var/lib/fireactions\n");
    path_with_parent: with_pool("state_dir: /var/../etc\n");
    duration_without_unit: in_pool("    deadlines: {boot: 60}\n");
    duration_nonsense: in_pool("    deadlines: {boot: soon}\n");
    on_failure_unknown: in_pool("    on_failure: holt\n");
    on_failure_unknown_section: in_pool("    on_failure: {hodl: {for: 30m}}\n");
    on_failure_without_settings: in_pool("    on_failure: hold\n");
    on_failure_with_wrong_settings: in_pool("    on_failure:\n      hold: {fro: 30m, max: 0}\n");
    on_failure_for_ever: in_pool("    on_failure: {hold: {for: 30d, max: 5000}}\n");
    on_failure_of_nothing: in_pool("    on_failure: {hold: [30m], destroy: true}\n");
    on_failure_destroy_with_settings: in_pool("    on_failure: {destroy: {for: 3s}}\n");
    duration_zero: in_pool("    deadlines: {boot: 0s}\n");
    duration_too_long: in_pool("    deadlines: {job: 500d}\n");
    address_without_port: with_pool("bind_address: 127.0.0.1\n");
    address_without_token: with_pool("bind_address: 0.0.0.0:8080\n");
    address_go_style_without_token: with_pool("bind_address: :8080\n");
    same_address_twice: with_pool("bind_address: 127.0.0.1:8081\nmetrics: {enabled: true}\n");
    inline_private_key: with_pool("github:\n  app_id: 1\n  app_private_key: |\n    -----BEGIN RSA PRIVATE KEY-----\n    c2VjcmV0IGtleSBtYXRlcmlhbA==\n");
    inline_private_key_on_line: with_pool("github: {app_id: 1, app_private_key: hunter2hunter2}\n");
    inline_token: with_pool("api_token: hunter2hunter2\n");
    basic_auth: with_pool("basic_auth_enabled: true\nbasic_auth_users:\n  admin: hunter2hunter2\n");
    secret_under_file_key: with_pool("api_token_file: hunter2hunter2\n");
    credential_name_invalid: with_pool("api_token_file: credential:../x\n");
    github_without_key: with_pool("github: {app_id: 1}\n");
    github_not_used_yet: with_pool("github: {app_id: 1, app_private_key_file: /etc/key.pem}\n");
    socket_mode_open: with_pool("api_socket_mode: \"0666\"\n");
    socket_mode_nonsense: with_pool("api_socket_mode: rw\n");
    socket_mode_decimal: with_pool("api_socket_mode: 660\n");
    subnet_too_small: with_pool("network: {subnet: 10.0.0.0/30}\n");
    subnet_with_host_bits: with_pool("network: {subnet: 10.0.0.7/24}\n");
    subnet_public: with_pool("network: {subnet: 8.8.8.0/24}\n");
    subnet_nonsense: with_pool("network: {subnet: 10.0.0.0/99}\n");
    bridge_name_too_long: with_pool("network: {bridge: fireactions-bridge-0}\n");
    dns_nonsense: with_pool("network: {dns: [one.one.one.one]}\n");
    host_port_nonsense: in_pool("    network: {host_ports: [3128]}\n");
    host_port_protocol: in_pool("    network: {host_ports: [sctp/5]}\n");
    allow_with_host_bits: in_pool("    network: {allow: [10.1.2.3/8]}\n");
    allow_metadata_service: in_pool("    network: {allow: [169.254.0.0/16]}\n");
    registry_with_scheme: with_pool("images: {insecure_registries: [\"https://r:5000/x\"]}\n");
    firecracker_emulated: with_pool("vmm: {driver: firecracker, accel: tcg}\n");
    firecracker_without_jailer: with_pool("vmm: {driver: firecracker, jailer: false}\n");
    firecracker_by_another_name: with_pool("vmm: {driver: firecracker, firecracker_binary: /opt/fc-1.15}\n");
    firecracker_with_too_many_vcpus: in_firecracker("    firecracker: {machine_config: {vcpu_count: 48}}\nhost: {vcpus: 64}\n");
    firecracker_binaries_of_pools: in_firecracker("    firecracker: {binary_path: firecracker}\n  - name: b\n    max_runners: 1\n    runner: {image: i, labels: [x]}\n    firecracker: {binary_path: /opt/firecracker}\n");
    firecracker_binary_of_pool_unused: told(&format!("vmm: {{driver: firecracker, firecracker_binary: /opt/firecracker}}\n{POOL}    firecracker: {{binary_path: firecracker}}\n"));
    firecracker_with_too_much_metadata: in_firecracker(&format!("    firecracker:\n      metadata: {{team: platform}}\n      user_data: |\n        #cloud-config\n        # {}\n", "x".repeat(17_500)));
    firecracker_settings_under_qemu: told(&format!("vmm: {{jailer: true, firecracker_binary: firecracker}}\n{POOL}    firecracker:\n      user_data: hello\n      mmds_version: V1\n      cpu_template: T2S\n      machine_config: {{huge_pages: transparent}}\n"));
    cpu_template_unknown: in_firecracker("    firecracker: {cpu_template: T3}\n");
    mmds_version_unknown: in_firecracker("    firecracker: {mmds_version: v2}\n");
    huge_pages_unknown: in_firecracker("    firecracker: {machine_config: {huge_pages: 2M}}\n");
    huge_pages_of_odd_memory: in_firecracker("    firecracker: {machine_config: {huge_pages: transparent, mem_size_mib: 1023}}\n");
    start_unknown: in_pool("    start: clone\n");
    start_of_huge_pages: in_firecracker("    firecracker:\n      machine_config:\n        huge_pages: hugetlbfs\n");
    start_of_the_images_init: in_pool("    init: image\n    start: snapshot\n");
    disk_limits_of_nothing: in_pool("    disk_limits: {mib_per_second: 0, iops: 0}\n");
    kernel_args_of_the_server: in_pool("    firecracker: {kernel_args: quiet fireactions.init=image}\n");
    overcommit_out_of_range: with_pool("host: {cpu_overcommit: 0}\n");
    no_labels: told("kernel: {image: /k}\npools:\n  - name: a\n    max_runners: 1\n    runner: {image: i}\n");
    yaml_indentation: told("pools:\n  - name: a\n   max_runners: 1\n");
    yaml_tab: told("metrics:\n\tenabled: true\n");
    yaml_unclosed: told("network: {dns: [1.1.1.1\n");
    yaml_unknown_alias: told("pools: *nowhere\n");
    two_documents: told("log_level: info\n---\nlog_level: debug\n");
    not_a_section: told("just text\n");
    alias_bomb: told(&bomb());
    too_deep: told(&format!("pools: {}1{}\n", "[".repeat(5000), "]".repeat(5000)));
    too_large: told(&"#".repeat(10 * 1024 * 1024));
    long_line: with_pool(&format!("{}\nlog_level: {}\n", "# far", "x".repeat(5000)));
    control_characters: with_pool("log_level: \"\\e[31mred\\u202e\"\n");
    many_at_once: told("bind_adress: x\nlog_level: loud\nmetrics: {enabeld: true, address: nowhere}\npools:\n  - name: a\n    max_runners: 0\n    runner: {image: \"a b\", lables: [x]}\n    disk_size_mib: big\n  - name: b\n    min_runners: 5\n    max_runners: 4\n    runner: {image: i, labels: [x]}\n");
}

/// Nine levels of ten aliases each: a billion values in 400 bytes.
fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..=9 {
        let before = format!("*a{}", level - 1);
        let _ = writeln!(text, "a{level}: &a{level} [{}]", vec![before; 10].join(","));
    }
    text
}

#[test]
fn secrets_are_never_repeated() {
    for text in [
        "github:\n  app_id: 1\n  app_private_key: hunter2hunter2\n",
        "api_token: hunter2hunter2\n",
        "api_token: [hunter2hunter2]\n",
        "api_token_file: hunter2hunter2\n",
        "api_tokn: hunter2hunter2\n",
        "basic_auth_users: {admin: hunter2hunter2}\n",
        "webhook_secret: hunter2hunter2\n",
        "github: {app_private_key: hunter2hunter2, app_idd: 1}\n",
        "{api_tokn: hunter2hunter2, log_level: inof}\n",
        "github:\n  app_id: 1\n  app_private_key: -----BEGIN\n    hunter2hunter2hunter2hunter2: x\n     y\n",
        "api_token: \"hunter2hunter2\n",
        "github: {app_id: x, app_private_key: hunter2hunter2}\n",
        "- api_token: hunter2hunter2\n",
    ] {
        let told = with_pool(text);
        assert!(!told.contains("hunter2"), "{text}\n{told}");
        assert!(!told.starts_with("accepted"), "{text}\n{told}");
    }
}

#[test]
fn places_are_exact() {
    let text = format!("log_level: info\nmetrics:\n  enabeld: true\n{POOL}");
    let errors = parse(Path::new("c"), text.as_bytes(), &HOST).unwrap_err().errors;
    assert_eq!((errors[0].line, errors[0].column), (3, 3));
    assert_eq!(errors.len(), 1);
}
