//! Whole files: the examples, a file of the original fireactions, and the generated reference page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fireactions_config::{Host, LogLevel, load, load_for, parse};
use fireactions_model::{DiskLimits, Hardware, HugePages, InitMode, MmdsVersion, PullPolicy, StartMode};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn examples_load() {
    for name in ["config.yaml", "minimal.yaml"] {
        let path = repository().join("examples").join(name);
        let loaded = load_for(&path, &Host { vcpus: Some(4), memory_mib: Some(8192) });
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [], "{name}");
        assert_eq!(loaded.config.pools().len(), 1);
    }
}

#[test]
fn minimal_file_gets_the_documented_defaults() {
    let config = load(&repository().join("examples/minimal.yaml")).unwrap();
    let pool = &config.pools()[0];
    assert_eq!((pool.min_runners, pool.max_runners), (0, 4));
    assert_eq!((pool.shape.vcpus, pool.shape.memory_mib, pool.shape.disk_mib), (1, 1024, 10240));
    assert_eq!((pool.pull, pool.init), (PullPolicy::IfNotPresent, InitMode::Agent));
    assert_eq!(pool.deadlines, fireactions_model::Deadlines::default());
    assert_eq!(config.api_socket.to_str(), Some("/run/fireactions/api.sock"));
    assert_eq!(config.api_socket_mode.0, 0o660);
    assert_eq!(config.state_dir.to_str(), Some("/var/lib/fireactions"));
    assert_eq!(config.shutdown.mode, fireactions_config::ShutdownMode::Leave);
    assert_eq!(config.shutdown.deadline.0, Duration::from_secs(300));
    assert_eq!(config.local.retry().attempts, 2);
    assert_eq!(config.network.capacity(), 1021);
    assert!(config.bind_address.is_none());
}

#[test]
fn kernel_arguments_of_all_pools_come_before_a_pools_own() {
    let args = |common: &str, own: &str| {
        let text = format!(
            "kernel: {{image: /k, args: '{common}'}}\npools: [{{name: a, max_runners: 1, runner: {{image: i}}, firecracker: {{kernel_args: '{own}'}}}}]\n"
        );
        parse(Path::new("c"), text.as_bytes(), &Host::unknown()).unwrap().config.pools()[0]
            .kernel
            .args
            .clone()
    };
    assert_eq!(args("quiet", "panic=1"), "quiet panic=1");
    assert_eq!(args("", "panic=1"), "panic=1");
    assert_eq!(args("quiet", ""), "quiet");
}

#[test]
fn full_example_says_what_it_shows() {
    let config = load(&repository().join("examples/config.yaml")).unwrap();
    let pool = &config.pools()[0];
    assert_eq!(pool.deadlines.idle, Duration::from_secs(3600));
    assert_eq!(pool.network.bandwidth_mbit, Some(500));
    assert_eq!(pool.metadata, serde_json::json!({ "team": "platform" }));
    assert_eq!(pool.labels.len(), 2);
    let budget = config.budget(&Host { vcpus: Some(4), memory_mib: Some(8192) });
    assert_eq!((budget.vcpus, budget.memory_mib, budget.machine_overhead_mib), (8, 7168, 64));
}

/// Written after the documentation of hostinger/fireactions, with its secret moved to a file and a token added.
const ORIGINAL: &str = "---
bind_address: 0.0.0.0:8080
api_token_file: credential:api-token
metrics:
  enabled: true
  address: 127.0.0.1:8081
github:
  app_private_key_file: /etc/fireactions/github.pem
  app_id: 12345
pools:
- name: fireactions-2vcpu-2gb
  max_runners: 20
  min_runners: 10
  runner:
    name: fireactions-2vcpu-2gb
    image: ghcr.io/hostinger/fireactions/runner:ubuntu-20.04-x64-2.310.2
    image_pull_policy: IfNotPresent
    group_id: 1
    organization: hostinger
    labels:
    - self-hosted
    - Fireactions-2vcpu-2gb
  firecracker:
    binary_path: firecracker
    kernel_image_path: /var/lib/fireactions/vmlinux
    kernel_args: \"console=ttyS0 noapic reboot=k panic=1 pci=off nomodules rw\"
    machine_config:
      mem_size_mib: 2048
      vcpu_count: 2
    metadata:
      example1: value1
      nested: {a: [1, null, true], 2: x}
- name: replicated
  replicas: 3
  runner:
    name: r
    image: debian:12
    labels: [self-hosted]
  firecracker:
    kernel_image_path: /var/lib/fireactions/vmlinux
log_level: fatal
debug: false
";

#[test]
fn file_of_the_original_is_readable() {
    let loaded = parse(Path::new("config.yaml"), ORIGINAL.as_bytes(), &Host::unknown());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let pools = loaded.config.pools();
    assert_eq!((pools[0].min_runners, pools[0].max_runners), (10, 20));
    assert_eq!((pools[1].min_runners, pools[1].max_runners), (3, 3));
    assert!(pools[0].kernel.args.starts_with("console=ttyS0"));
    assert_eq!(pools[0].labels.iter().next().unwrap().as_str(), "fireactions-2vcpu-2gb");
    assert_eq!(
        pools[0].metadata,
        serde_json::json!({ "example1": "value1", "nested": { "a": [1, null, true], "2": "x" } })
    );
    assert_eq!(loaded.config.firecracker_binary().as_path(), Path::new("firecracker"));
    assert_eq!(loaded.config.log_level, LogLevel::Error);
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].message.contains("GitHub forge is not available yet"));
}

#[test]
fn hardware_of_a_pool_is_what_the_file_says() {
    let text = "
vmm: {driver: firecracker, firecracker_binary: /opt/firecracker}
kernel: {image: /k}
pools:
- name: a
  max_runners: 1
  start: boot
  disk_limits: {mib_per_second: 100, iops: 2000}
  runner: {image: i, labels: [x]}
  firecracker:
    console: true
    mmds_version: V1
    cpu_template: T2CL
    user_data: |
      #cloud-config
    machine_config: {huge_pages: hugetlbfs}
- name: b
  max_runners: 1
  runner: {image: i, labels: [x]}
";
    let loaded = parse(Path::new("c"), text.as_bytes(), &Host::unknown());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.firecracker_binary().as_path(), Path::new("/opt/firecracker"));
    let pools = loaded.config.pools();
    let hardware = Hardware {
        console: true,
        huge_pages: HugePages::Hugetlbfs,
        disk_limits: DiskLimits { mib_per_second: Some(100), iops: Some(2000) },
        mmds: MmdsVersion::V1,
        cpu_template: Some("T2CL".to_owned()),
    };
    assert_eq!((&pools[0].hardware, pools[0].start), (&hardware, StartMode::Boot));
    assert_eq!(pools[0].user_data.as_deref(), Some("#cloud-config\n"));
    assert_eq!((&pools[1].hardware, pools[1].start), (&Hardware::default(), StartMode::Snapshot));
    assert_eq!(pools[1].user_data, None);
}

#[test]
fn the_firecracker_binary_of_existing_files_counts_when_the_server_names_none() {
    let binary = |vmm: &str, pools: &[&str]| {
        let pool = |(index, binary): (usize, &&str)| {
            format!("- {{name: p{index}, max_runners: 1, runner: {{image: i}}, firecracker: {{{binary}}}}}\n")
        };
        let pools: String = pools.iter().enumerate().map(pool).collect();
        let text = format!("vmm: {{driver: firecracker{vmm}}}\nkernel: {{image: /k}}\npools:\n{pools}");
        let loaded = parse(Path::new("c"), text.as_bytes(), &Host::unknown());
        loaded.unwrap_or_else(|errors| panic!("{errors}")).config.firecracker_binary().as_path().to_owned()
    };
    assert_eq!(binary("", &[""]), Path::new("firecracker"));
    assert_eq!(binary("", &["", "binary_path: /a/firecracker"]), Path::new("/a/firecracker"));
    assert_eq!(
        binary(", firecracker_binary: /b/firecracker", &["binary_path: /a/firecracker", "binary_path: /c"]),
        Path::new("/b/firecracker")
    );
}

#[test]
fn an_empty_file_is_a_server_without_pools() {
    for text in ["", "---\n", "# nothing\n", "pools:\n", "pools: []\n"] {
        let loaded = parse(Path::new("c"), text.as_bytes(), &Host::unknown());
        let loaded = loaded.unwrap_or_else(|errors| panic!("{text:?}: {errors}"));
        assert!(loaded.warnings[0].message.contains("there are no pools"), "{text:?}");
    }
}

#[test]
fn reference_page_is_up_to_date() {
    let docs = repository().join("docs/reference");
    let page = std::fs::read_to_string(docs.join("config.md")).unwrap_or_default();
    assert!(
        page == fireactions_config::reference_page(),
        "docs/reference/config.md is stale: run `make doc` (cargo run -p fireactions-config --example reference)"
    );
    let schema = std::fs::read_to_string(docs.join("config.schema.json")).unwrap_or_default();
    let now = serde_json::to_string_pretty(fireactions_config::json_schema()).unwrap() + "\n";
    assert!(schema == now, "docs/reference/config.schema.json is stale: run the same command");
}

#[test]
fn every_key_is_documented() {
    fn walk(schema: &serde_json::Value, path: &str) {
        for (key, field) in
            schema.get("properties").and_then(serde_json::Value::as_object).into_iter().flatten()
        {
            assert!(field.get("description").is_some(), "{path}.{key} has no doc comment");
        }
    }
    let schema = fireactions_config::json_schema();
    walk(schema, "");
    for (name, part) in schema["$defs"].as_object().unwrap() {
        walk(part, name);
    }
}
