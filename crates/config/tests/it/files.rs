//! Whole files: the examples, a file of the original fireactions, and the generated reference page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fireactions_config::{Config, ForgeRef, Host, LogLevel, SecretFile, load, load_for, parse};
use fireactions_model::{
    DiskLimits, ForgeName, ForgeRunner, GiteaRunner, GiteaScope, GithubRunner, GithubScope, Hardware,
    HugePages, InitMode, MmdsVersion, PullPolicy, RunnerGroup, StartMode,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn examples_load() {
    for (name, pools) in
        [("config.yaml", 1), ("minimal.yaml", 1), ("github.yaml", 2), ("gitea.yaml", 2), ("forgejo.yaml", 2)]
    {
        let path = repository().join("examples").join(name);
        let loaded = load_for(&path, &Host { vcpus: Some(4), memory_mib: Some(8192) });
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [], "{name}");
        assert_eq!(loaded.config.pools().len(), pools, "{name}");
    }
}

/// Files that were once taken, though no machine could ever start with them.
#[test]
fn files_that_cannot_work_are_refused() {
    const TEST: &str = "files_that_cannot_work_are_refused";
    for (case, file, says) in [
        (
            "dns-loopback",
            "dns-loop.yaml",
            "2:17: network.dns[0] 127.0.0.53 cannot be a DNS server for guests",
        ),
        (
            "validate-takes-any-image",
            "image-upper.yaml",
            "5:21: runner.image 'Ghcr.io/Acme/Img:1' of pool 'a'",
        ),
        (
            "validate-takes-any-image",
            "image-https.yaml",
            "5:21: runner.image 'https://ghcr.io/acme/img:1' of pool 'a'",
        ),
    ] {
        let Some(case) = fireactions_testkit::beside::case(TEST, case) else { return };
        let error = load(&case.join(file)).unwrap_err().to_string();
        assert!(error.contains(says), "{file}: {error}");
    }
}

#[test]
fn github_example_says_what_it_shows() {
    let config = load(&repository().join("examples/github.yaml")).unwrap();
    let github = config.github.as_ref().unwrap();
    assert_eq!(github.url.as_str(), "https://github.com/");
    assert_eq!(
        github.all_apps(),
        [("12345".to_owned(), SecretFile::Credential("github-app-key".to_owned()))]
    );
    assert_eq!(github.audit_interval.0, Duration::from_secs(300));
    let webhook = github.webhook.as_ref().unwrap();
    assert_eq!(
        (config.webhook_listen(), config.webhook_path(&ForgeName::github()).as_deref()),
        (Some("127.0.0.1:8090".parse().unwrap()), Some("/webhook/github"))
    );
    assert_eq!(webhook.secret_files(), [SecretFile::Credential("github-webhook".to_owned())]);

    let pools = config.pools();
    let by_name = GithubRunner {
        group: RunnerGroup::Name("Default".to_owned()),
        prefix: "fireactions".to_owned(),
        scale_set: Some("fireactions".to_owned()),
        ..GithubRunner::new(GithubScope::organization("example-org").unwrap())
    };
    assert_eq!(pools[0].github(), Some(&by_name));
    let by_labels = GithubRunner {
        prefix: "large".to_owned(),
        command: Some(vec!["./run.sh".to_owned()]),
        ..GithubRunner::new(GithubScope::repository("example-org", "project").unwrap())
    };
    assert_eq!(pools[1].github(), Some(&by_labels));
}

#[test]
fn keys_of_github_may_be_left_out_and_have_every_documented_form() {
    let github = |text: &str, runner: &str| {
        let text = format!(
            "github: {{{text}}}\nkernel: {{image: /k}}\npools: [{{name: big, max_runners: 1, init: image, min_runners: 1, runner: {{image: i, {runner}}}}}]\n"
        );
        let loaded = parse(Path::new("c"), text.as_bytes(), &Host::unknown());
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [], "{text}");
        let runner = loaded.config.pools().remove(0).github().unwrap().clone();
        (loaded.config.github.unwrap(), runner)
    };
    let file = |path: &str| SecretFile::try_from(path.to_owned()).unwrap();

    let (config, runner) = github("app_id: Iv23abcDEF, app_private_key_file: /k.pem", "organization: Acme");
    assert_eq!(config.all_apps(), [("Iv23abcDEF".to_owned(), file("/k.pem"))]);
    assert_eq!(config.url.as_str(), "https://github.com/");
    assert!(config.proxy.is_none() && config.webhook.is_none() && config.ca_file.is_none());
    assert_eq!(config.audit_interval.0, Duration::from_secs(300));
    let usual = GithubRunner {
        prefix: "big".to_owned(),
        scale_set: Some("big".to_owned()),
        ..GithubRunner::new(GithubScope::organization("acme").unwrap())
    };
    assert_eq!(runner, usual);
    assert_eq!(runner.work_folder, "_work");

    let (config, runner) = github(
        "url: \"https://git.example.com:8443\", apps: [{app_id: 1, private_key_file: /1}, {app_id: \"2\", private_key_file: /2}], audit_interval: 30s",
        "repository: acme/Wid.gets, scale_set: Large-1, name: ci, work_folder: /mnt/work, command: [sh, -c, \"a\\nb\"]",
    );
    assert_eq!(config.all_apps(), [("1".to_owned(), file("/1")), ("2".to_owned(), file("/2"))]);
    assert_eq!(config.url.as_str(), "https://git.example.com:8443/");
    assert_eq!(runner.scope.to_string(), "acme/wid.gets");
    assert_eq!((runner.scale_set.as_deref(), runner.prefix.as_str()), (Some("Large-1"), "ci"));
    assert_eq!((runner.work_folder.as_str(), &runner.group), ("/mnt/work", &RunnerGroup::Default));
    assert_eq!(runner.command.unwrap(), ["sh", "-c", "a\nb"]);

    let (config, runner) = github(
        "url: \"http://127.0.0.1:9000\", token_file: \"credential:pat\", ca_file: /ca.pem, proxy: \"http://proxy:3128\", audit_interval: 1h, webhook: {listen: \":8090\", path: /hook, secret_file: /a, secret_files: [/b]}",
        "enterprise: acme, group_id: 3, scale_set: false, labels: [x]",
    );
    assert_eq!(config.all_apps(), []);
    assert_eq!(config.token_file, Some(file("credential:pat")));
    assert_eq!(config.proxy.unwrap().as_str(), "http://proxy:3128/");
    let webhook = config.webhook.unwrap();
    assert_eq!(
        (webhook.path.as_deref(), webhook.secret_files()),
        (Some("/hook"), vec![file("/a"), file("/b")])
    );
    assert_eq!(runner.scope.to_string(), "enterprises/acme");
    assert_eq!((runner.group, runner.scale_set), (RunnerGroup::Id(3), None));
}

/// The forges' names with their kinds and the keys they are declared at.
fn forges(config: &Config) -> Vec<String> {
    let of = |(name, forge): (ForgeName, ForgeRef<'_>)| {
        format!("{name}: {} at {}", forge.kind(), config.forge_key(&name))
    };
    config.forges().into_iter().map(of).collect()
}

/// Each pool's forge with what its machines are there.
fn places(config: &Config) -> Vec<(String, ForgeRunner)> {
    let pools = config.pools().into_iter();
    pools.filter_map(|pool| pool.forge).map(|forge| (forge.name.to_string(), forge.runner)).collect()
}

fn read(text: &str) -> (Config, Vec<String>) {
    let loaded = parse(Path::new("c"), text.as_bytes(), &Host::unknown());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    (loaded.config, loaded.warnings.into_iter().map(|warning| warning.message).collect())
}

#[test]
fn gitea_example_says_what_it_shows() {
    let config = load(&repository().join("examples/gitea.yaml")).unwrap();
    let gitea = config.gitea.as_ref().unwrap();
    assert_eq!(gitea.url.as_str(), "https://git.example.com/");
    assert_eq!(gitea.api_token_file, Some(SecretFile::Credential("gitea-token".to_owned())));
    assert_eq!(
        (gitea.poll_interval.0, gitea.audit_interval.0),
        (Duration::from_secs(3), Duration::from_secs(300))
    );
    assert_eq!(config.webhook_listen(), Some("127.0.0.1:8090".parse().unwrap()));
    assert_eq!(config.webhook_path(&ForgeName::gitea()).as_deref(), Some("/webhook/gitea"));
    assert_eq!(config.webhook_path(&ForgeName::github()), None);
    let of_organization = GiteaRunner {
        prefix: "debian".to_owned(),
        labels: vec!["Debian".to_owned(), "debian-12:host".to_owned()],
        ..GiteaRunner::new(GiteaScope::organization("example-org").unwrap())
    };
    let of_repository = GiteaRunner {
        prefix: "ci".to_owned(),
        labels: vec!["large".to_owned(), "node:docker://node:22".to_owned()],
        command: Some(vec!["/usr/local/bin/act_runner".to_owned()]),
        ..GiteaRunner::new(GiteaScope::repository("example-org", "project").unwrap())
    };
    let gitea = |runner| ("gitea".to_owned(), ForgeRunner::Gitea(runner));
    assert_eq!(places(&config), [gitea(of_organization), gitea(of_repository)]);
    let labels: Vec<String> = config.pools()[0].labels.iter().map(ToString::to_string).collect();
    assert_eq!(labels, ["debian", "debian-12:host"]);
}

#[test]
fn forgejo_example_says_what_it_shows() {
    let config = load(&repository().join("examples/forgejo.yaml")).unwrap();
    assert_eq!(forges(&config), ["forgejo: Forgejo at forgejo"]);
    let of_instance = GiteaRunner {
        prefix: "debian".to_owned(),
        labels: vec!["debian".to_owned()],
        ..GiteaRunner::new(GiteaScope::Instance)
    };
    let of_user = GiteaRunner {
        prefix: "mine".to_owned(),
        labels: vec!["mine".to_owned()],
        ..GiteaRunner::new(GiteaScope::User)
    };
    let forgejo = |runner| ("forgejo".to_owned(), ForgeRunner::Forgejo(runner));
    assert_eq!(places(&config), [forgejo(of_instance), forgejo(of_user)]);
    assert_eq!((config.webhook_listen(), config.pools()[0].min_runners), (None, 1));
}

#[test]
fn forges_of_every_kind_stand_side_by_side() {
    let (config, warnings) = read(
        "
github: {app_id: 1, app_private_key_file: /k, webhook: {listen: \":8090\", secret_file: /s}}
forges:
  ghes: {kind: github, url: \"https://git.lan\", token_file: /t, webhook: {secret_file: /s, listen: \":8090\"}}
  tea: {url: \"https://example.com/git\", kind: gitea, api_token_file: /t, webhook: {listen: \":8090\", path: /tea, secret_file: /s}}
  tea-2: {api_token_file: /t, url: \"http://tea.lan\", insecure_http: true, kind: gitea, poll_interval: 1s}
  joe: {kind: forgejo, url: \"https://joe.lan\", api_token_file: /t}
kernel: {image: /k}
pools:
- {name: a, max_runners: 1, runner: {image: i, organization: acme}}
- {name: b, max_runners: 1, runner: {image: i, forge: ghes, enterprise: acme, scale_set: a}}
- {name: c, max_runners: 1, runner: {image: i, forge: tea, repository: Acme/App, labels: [X]}}
- {name: d, max_runners: 1, runner: {image: i, forge: tea-2, organization: _acme, labels: [X]}}
- {name: e, max_runners: 1, runner: {image: i, forge: joe, scope: user, labels: [X]}}
- {name: f, max_runners: 1, runner: {image: i, labels: [X]}}
- {name: g, max_runners: 1, runner: {image: i, forge: ghes, organization: acme, scale_set: a}}
",
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(
        forges(&config),
        [
            "github: GitHub at github",
            "ghes: GitHub at forges.ghes",
            "joe: Forgejo at forges.joe",
            "tea: Gitea at forges.tea",
            "tea-2: Gitea at forges.tea-2",
        ]
    );
    let of: Vec<String> = config
        .pools()
        .iter()
        .map(|pool| pool.forge.as_ref().map_or("local", |forge| forge.name.as_str()).to_owned())
        .collect();
    assert_eq!(of, ["github", "ghes", "tea", "tea-2", "joe", "local", "ghes"]);
    let scope = |index: usize| match config.pools().remove(index).forge.unwrap().runner {
        ForgeRunner::Github(runner) => runner.scope.to_string(),
        ForgeRunner::Gitea(runner) | ForgeRunner::Forgejo(runner) => runner.scope.to_string(),
    };
    assert_eq!(
        [0, 1, 2, 3, 4].map(scope),
        ["acme", "enterprises/acme", "repos/Acme/App", "orgs/_acme", "user"]
    );
    let path = |name: &str| config.webhook_path(&ForgeName::new(name).unwrap()).map(String::from);
    assert_eq!(path("github").as_deref(), Some("/webhook/github"));
    assert_eq!(path("ghes").as_deref(), Some("/webhook/ghes"));
    assert_eq!(path("tea").as_deref(), Some("/tea"));
    assert_eq!((path("joe"), path("none")), (None, None));
    let url =
        |name: &str| match config.forges().into_iter().find(|(other, _)| other.as_str() == name).unwrap().1 {
            ForgeRef::Github(github) => github.url.to_string(),
            ForgeRef::Gitea(gitea) | ForgeRef::Forgejo(gitea) => gitea.url.to_string(),
        };
    assert_eq!((url("tea").as_str(), url("ghes").as_str()), ("https://example.com/git/", "https://git.lan/"));
}

#[test]
fn a_pool_that_names_no_forge_is_of_the_only_one() {
    let file = |forges: &str, runner: &str| {
        let text = format!(
            "{forges}\nkernel: {{image: /k}}\npools: [{{name: a, max_runners: 1, runner: {{image: i, labels: [x], {runner}}}}}]\n"
        );
        let (config, warnings) = read(&text);
        (config.pools().remove(0).forge.map(|forge| forge.name.to_string()), warnings)
    };
    let gitea = "gitea: {url: \"https://g\", api_token_file: /t}";
    assert_eq!(file(gitea, "scope: instance"), (Some("gitea".to_owned()), vec![]));
    let named = "forges: {tea: {kind: gitea, url: \"https://g\", api_token_file: /t}}";
    assert_eq!(file(named, "organization: a"), (Some("tea".to_owned()), vec![]));
    let (forge, warnings) = file(&format!("{gitea}\ngithub: {{token_file: /t}}"), "organization: a");
    assert_eq!(forge.as_deref(), Some("github"));
    assert_eq!(warnings, ["no pool belongs to the forge 'gitea', so this section has no effect"]);
}

#[test]
fn with_a_registration_token_runners_wait_and_the_forge_counts_them() {
    let pool = |size: &str| {
        let (config, warnings) = read(&format!(
            "gitea: {{url: \"https://g\", runner_token_file: /t}}\nkernel: {{image: /k}}\npools: [{{name: a, {size}, runner: {{image: i, organization: a, labels: [x]}}}}]\n"
        ));
        assert!(warnings.len() == 1 && warnings[0].contains("cannot be read"), "{warnings:?}");
        let pool = config.pools().remove(0);
        let Some(ForgeRunner::Gitea(runner)) = pool.forge.map(|forge| forge.runner) else {
            panic!("no Gitea")
        };
        (pool.min_runners, pool.max_runners, runner.standing)
    };
    assert_eq!(pool("max_runners: 5"), (0, 5, Some(1)));
    assert_eq!(pool("max_runners: 5, min_runners: 3"), (0, 5, Some(3)));
    assert_eq!(pool("replicas: 2"), (0, 2, Some(2)));
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
    assert_eq!(args("quiet", "loglevel=3"), "quiet loglevel=3");
    assert_eq!(args("", "loglevel=3"), "loglevel=3");
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
    assert_eq!(pools[0].kernel.args, "", "every word of it is the VMM's own business");
    assert_eq!(pools[0].labels.iter().next().unwrap().as_str(), "fireactions-2vcpu-2gb");
    assert_eq!(
        pools[0].metadata,
        serde_json::json!({ "example1": "value1", "nested": { "a": [1, null, true], "2": "x" } })
    );
    assert_eq!(loaded.config.firecracker_binary().as_path(), Path::new("firecracker"));
    assert_eq!(loaded.config.log_level, LogLevel::Error);
    let warnings: Vec<&str> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "firecracker.binary_path is not used: vmm.driver is 'qemu'",
            "these kernel arguments are not used: console=ttyS0 noapic reboot=k panic=1 pci=off nomodules rw",
        ]
    );
    let runner = pools[0].github().unwrap();
    assert_eq!(runner.scope, GithubScope::organization("hostinger").unwrap());
    assert_eq!(runner.group, RunnerGroup::Id(1));
    assert_eq!(runner.prefix, "fireactions-2vcpu-2gb");
    assert_eq!(pools[1].forge, None);
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
  disk_bytes_per_inode: 4096
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
        bytes_per_inode: 4096,
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
