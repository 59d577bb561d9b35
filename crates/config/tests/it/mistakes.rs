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

/// A right way to GitHub.
const GITHUB: &str = "github: {app_id: 1, app_private_key_file: /key.pem}\n";

/// `github` as a whole line, and a pool with these keys of its runner, one a line.
fn with_runner(github: &str, runner: &str) -> String {
    let keys = runner.replace('\n', "\n      ");
    told(&format!(
        "{github}kernel: {{image: /k}}\npools:\n  - name: a\n    max_runners: 2\n    runner:\n      image: debian\n      {keys}\n"
    ))
}

/// An organization's pool, with these keys of the section `github` beside an App's.
fn in_github(text: &str) -> String {
    with_runner(
        &format!("github:\n  app_id: 1\n  app_private_key_file: /key.pem\n{text}"),
        "organization: acme",
    )
}

/// An organization's pool, with the section `github` and nothing else in it.
fn only_in_github(text: &str) -> String {
    with_runner(&format!("github:\n{text}"), "organization: acme")
}

/// A right way to a Gitea.
const GITEA: &str = "gitea: {url: \"https://git.example.com\", api_token_file: /token}\n";

/// An organization's pool with labels, with these keys of the section `gitea` beside a token.
fn in_gitea(text: &str) -> String {
    with_runner(&format!("gitea:\n  api_token_file: /token\n{text}"), "organization: acme\nlabels: [x]")
}

/// The same with these keys of the section and nothing else in it.
fn only_in_gitea(text: &str) -> String {
    with_runner(&format!("gitea:\n{text}"), "organization: acme\nlabels: [x]")
}

/// A pool of the forge `tea`, with `text` below `forges:`.
fn in_forges(text: &str) -> String {
    with_runner(&format!("forges:\n{text}"), "forge: tea\norganization: acme\nlabels: [x]")
}

macro_rules! mistakes {
    ($($name:ident: $told:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), $told);
        })*
    };
}

/// A pool of the built-in queue, with these keys of its runner, one a line.
fn in_runner(text: &str) -> String {
    with_runner("", &format!("labels: [x]\n{text}"))
}

mistakes! {
    data_dir_relative: in_runner("data_dirs: [srv/cache]");
    data_dir_of_the_kernel: in_runner("data_dirs: [/proc/x]");
    data_dir_twice: in_runner("data_dirs: [/srv/x, /srv/x]");
    sticky_twice: in_runner("sticky: [{path: /srv/x, key: a, size_mib: 64}, {path: /srv/x, key: b, size_mib: 64}, {path: /srv/y, key: a, size_mib: 64}]");
    sticky_in_data_dirs: in_runner("data_dirs: [/srv/x]\nsticky: [{path: /srv/x, key: a, size_mib: 64}]");
    sticky_of_odd_values: in_runner("sticky: [{path: ~/.cargo, key: a, size_mib: 64}, {path: /srv/x, key: a/b, size_mib: 64}, {path: /srv/x, key: b, size_mib: 1}]");
    sticky_beside_an_init: told("kernel: {image: /k}\npools:\n  - name: a\n    max_runners: 2\n    init: image\n    runner: {image: debian, labels: [x], sticky: [{path: /srv/x, key: a, size_mib: 64}]}\n");
    sticky_of_an_organization: with_runner(GITEA, "organization: acme\nlabels: [x]\nsticky: [{path: /srv/x, key: a, size_mib: 64}]");
    sticky_without_a_scale_set: with_runner("github: {app_id: 1, app_private_key_file: /k, webhook: {listen: \"127.0.0.1:8090\", secret_file: /s}}\n", "repository: acme/app\nlabels: [x]\nscale_set: false\nsticky: [{path: /srv/x, key: a, size_mib: 64}]");
    sticky_with_a_registration_token: with_runner("gitea: {url: \"https://git.example.com\", runner_token_file: /token}\n", "repository: acme/app\nlabels: [x]\nsticky: [{path: /srv/x, key: a, size_mib: 64}]");
    sticky_that_goes_at_once: with_pool("sticky: {unused_for: 1s}\n");
    too_many_words: in_runner(&format!("data_dirs: [{}]", (0..8).map(|n| format!("/srv/a-rather-long-name-{n}")).collect::<Vec<_>>().join(", ")));
    module_name: told("kernel: {image: /k, modules_load: [veth.ko]}\npools: []\n");
    inode_size: in_pool("    disk_bytes_per_inode: 3000\n");
    service_with_arguments: in_runner("services: [dockerd --debug]");
    service_twice: in_runner("services: [dockerd, {name: dockerd, command: [x]}]");
    service_without_name: in_runner("services: [{command: [x]}]");
    service_without_program: in_runner("services: [{name: x, command: []}]");
    service_not_ready: in_runner("services: [{name: x, ready: {port: http}}]");
    service_with_long_timeout: in_runner("services: [{name: x, timeout: 1h}]");
    service_beside_an_init: told("kernel: {image: /k}\npools:\n  - name: a\n    max_runners: 2\n    init: image\n    runner: {image: debian, labels: [x], services: [dockerd]}\n");
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
    token_of_unknown_role: with_pool("bind_address: :8080\napi_tokens: [{name: ci, role: root, file: /t}]\n");
    token_without_file: with_pool("bind_address: :8080\napi_tokens: [{name: ci, role: admin}]\n");
    token_with_inline_secret: with_pool("bind_address: :8080\napi_tokens: [{name: ci, role: admin, token: hunter2hunter2}]\n");
    token_with_odd_name: with_pool("bind_address: :8080\napi_tokens: [{name: \"c i\", role: viewer, file: /t}]\n");
    tokens_of_one_name: with_pool("bind_address: :8080\napi_tokens:\n  - {name: ci, role: viewer, file: /a}\n  - {name: ci, role: admin, file: /b}\n");
    tokens_of_one_file: with_pool("bind_address: :8080\napi_token_file: /a\napi_tokens:\n  - {name: ci, role: viewer, file: /a}\n");
    tokens_without_address: with_pool("api_tokens: [{name: ci, role: viewer, file: /t}]\n");
    same_address_twice: with_pool("bind_address: 127.0.0.1:8081\nmetrics: {enabled: true}\n");
    inline_private_key: with_pool("github:\n  app_id: 1\n  app_private_key: |\n    -----BEGIN RSA PRIVATE KEY-----\n    c2VjcmV0IGtleSBtYXRlcmlhbA==\n");
    inline_private_key_on_line: with_pool("github: {app_id: 1, app_private_key: hunter2hunter2}\n");
    inline_token: with_pool("api_token: hunter2hunter2\n");
    basic_auth: with_pool("basic_auth_enabled: true\nbasic_auth_users:\n  admin: hunter2hunter2\n");
    secret_under_file_key: with_pool("api_token_file: hunter2hunter2\n");
    credential_name_invalid: with_pool("api_token_file: credential:../x\n");
    github_of_no_pool: with_pool(GITHUB);
    github_missing: with_runner("", "organization: acme");
    github_empty: with_runner("github:\n", "repository: acme/widgets");
    github_without_credential: with_runner("github: {url: https://acme.ghe.com}\n", "organization: acme");
    github_without_key: with_pool("github: {app_id: 1}\n");
    github_without_id: only_in_github("  app_private_key_file: /key.pem\n");
    github_app_and_token: in_github("  token_file: /token\n");
    github_app_and_apps: in_github("  apps: [{app_id: 2, private_key_file: /2.pem}]\n");
    github_app_twice: only_in_github("  apps:\n  - {app_id: Iv23abc, private_key_file: /1.pem}\n  - app_id: Iv23abc\n    private_key_file: /2.pem\n");
    github_app_without_key: only_in_github("  apps:\n  - app_id: 1\n");
    github_app_with_inline_key: only_in_github("  apps:\n  - app_id: 1\n    private_key: hunter2hunter2\n");
    github_app_wrong: only_in_github("  apps:\n  - {app_id: my app, private_key_file: /1.pem}\n");
    github_app_id_zero: only_in_github("  app_id: 0\n  app_private_key_file: /key.pem\n");
    github_app_id_list: only_in_github("  app_id: [1]\n  app_private_key_file: /key.pem\n");
    github_token_as_app_id: only_in_github("  app_id: ghp_hunter2hunter2\n  app_private_key_file: /key.pem\n");
    github_token_inline: only_in_github("  token: hunter2hunter2\n");
    github_token_under_file_key: only_in_github("  token_file: ghp_hunter2hunter2\n");
    github_url_nonsense: in_github("  url: github.com\n");
    github_url_plain: in_github("  url: http://github.example.com\n");
    github_url_like_loopback: in_github("  url: http://127.0.0.1.example.com\n");
    github_url_of_organization: in_github("  url: https://github.com/acme\n");
    github_url_of_api: in_github("  url: https://api.github.com\n");
    github_url_with_password: in_github("  url: https://me:hunter2hunter2@github.com\n");
    github_proxy_nonsense: in_github("  proxy: proxy.example.com:3128\n");
    github_proxy_with_password: in_github("  proxy: http://me:hunter2hunter2@proxy.example.com:3128\n");
    github_proxy_with_path: in_github("  proxy: http://proxy.example.com:3128/github\n");
    github_ca_file_relative: in_github("  ca_file: company.pem\n");
    github_audit_too_often: in_github("  audit_interval: 5s\n");
    github_audit_too_rare: in_github("  audit_interval: 2h\n");
    webhook_without_secret: in_github("  webhook:\n    listen: 0.0.0.0:8090\n");
    webhook_with_inline_secret: in_github("  webhook:\n    listen: 0.0.0.0:8090\n    secret: hunter2hunter2\n");
    webhook_with_wrong_secret: in_github("  webhook:\n    listen: 0.0.0.0:8090\n    secret_files: [hunter2hunter2]\n");
    webhook_without_address: in_github("  webhook: {secret_file: /secret}\n");
    webhook_path_relative: in_github("  webhook: {listen: \":8090\", secret_file: /secret, path: webhook}\n");
    webhook_path_with_variable: in_github("  webhook: {listen: \":8090\", secret_file: /secret, path: \"/{x}\"}\n");
    webhook_at_address_of_metrics: in_github("  webhook: {listen: \"0.0.0.0:8081\", secret_file: /secret}\nmetrics: {enabled: true, address: 127.0.0.1:8081}\n");
    webhook_at_address_of_api: in_github("  webhook: {listen: \"127.0.0.1:8080\", secret_file: /secret}\nbind_address: 127.0.0.1:8080\n");
    webhook_of_several_families: in_github("  webhook: {listen: \"[::]:8080\", secret_file: /secret}\nbind_address: 127.0.0.1:8080\n");
    runner_of_two_scopes: with_runner(GITHUB, "organization: acme\nrepository: acme/widgets");
    runner_of_enterprise_and_organization: with_runner(GITHUB, "enterprise: acme\norganization: acme");
    runner_of_enterprise_without_token: with_runner(GITHUB, "enterprise: acme");
    runner_of_owner_without_name: with_runner(GITHUB, "repository: widgets");
    runner_of_url: with_runner(GITHUB, "repository: https://github.com/acme/widgets");
    runner_of_odd_organization: with_runner(GITHUB, "organization: acme inc");
    runner_of_odd_enterprise: with_runner("github: {token_file: /token}\n", "enterprise: enterprises/acme");
    runner_with_group_of_repository: with_runner(GITHUB, "repository: acme/widgets\ngroup: Default");
    runner_with_group_id_of_repository: with_runner(GITHUB, "repository: acme/widgets\ngroup_id: 1");
    runner_with_group_and_id: with_runner(GITHUB, "organization: acme\ngroup: Default\ngroup_id: 1");
    runner_with_group_of_no_name: with_runner(GITHUB, "organization: acme\ngroup: \"\"");
    runner_with_group_id_zero: with_runner(GITHUB, "organization: acme\ngroup_id: 0");
    runner_with_group_of_number: with_runner(GITHUB, "organization: acme\ngroup: 1");
    runner_name_too_long: with_runner(GITHUB, "organization: acme\nname: this-is-a-name-that-leaves-too-little-space-for-it");
    runner_name_with_spaces: with_runner(GITHUB, "organization: acme\nname: my runner");
    runner_name_empty: with_runner(GITHUB, "organization: acme\nname: \"\"");
    runner_name_of_long_pool: told(&format!("{GITHUB}kernel: {{image: /k}}\npools:\n- name: a-pool-of-this-name-has-runners-without-a-name\n  max_runners: 1\n  runner: {{image: i, organization: acme, scale_set: short}}\n"));
    runner_command_empty: with_runner(GITHUB, "organization: acme\ncommand: []");
    runner_command_of_nothing: with_runner(GITHUB, "organization: acme\ncommand: [\"\", run]");
    runner_command_as_text: with_runner(GITHUB, "organization: acme\ncommand: ./run.sh");
    runner_work_folder_of_parent: with_runner(GITHUB, "organization: acme\nwork_folder: ../_work");
    runner_work_folder_empty: with_runner(GITHUB, "organization: acme\nwork_folder: \"\"");
    runner_without_labels_and_scale_set: with_runner(GITHUB, "organization: acme\nscale_set: false");
    runner_with_wrong_label_only: with_runner(GITHUB, "organization: acme\nscale_set: false\nlabels: [\"a,b\"]");
    runner_with_long_label: with_runner(GITHUB, &format!("organization: acme\nlabels: [{}]", "x".repeat(257)));
    runner_with_too_many_labels: with_runner(GITHUB, &format!("organization: acme\nlabels: [{}]", (0..101).map(|n| format!("l{n}")).collect::<Vec<_>>().join(", ")));
    runner_of_audit_only: with_runner(GITHUB, "organization: acme\nscale_set: false\nlabels: [x]");
    runner_keys_of_the_built_in_queue: with_runner("", "labels: [x]\nscale_set: set\ngroup: Default\ncommand: [./run.sh]\nwork_folder: _work");
    scale_set_name_with_spaces: with_runner(GITHUB, "organization: acme\nscale_set: big machines");
    scale_set_name_too_long: with_runner(GITHUB, &format!("organization: acme\nscale_set: {}", "x".repeat(65)));
    scale_set_wrong_type: with_runner(GITHUB, "organization: acme\nscale_set: [a]");
    scale_set_twice: told(&format!("{GITHUB}kernel: {{image: /k}}\npools:\n- name: a\n  max_runners: 1\n  runner: {{image: i, organization: acme}}\n- name: b\n  max_runners: 1\n  runner: {{image: i, organization: Acme, scale_set: A}}\n"));
    gitea_without_url: only_in_gitea("  api_token_file: /token\n");
    gitea_url_wrong_alone: in_gitea("  url: [https://git.example.com]\n");
    gitea_without_token: only_in_gitea("  url: https://git.example.com\n");
    gitea_with_both_tokens: in_gitea("  url: https://git.example.com\n  runner_token_file: /other\n");
    gitea_with_inline_tokens: only_in_gitea("  url: https://git.example.com\n  api_token: hunter2hunter2\n  runner_token: hunter2hunter2\n  token: hunter2hunter2\n");
    gitea_with_token_file: only_in_gitea("  url: https://git.example.com\n  token_file: /token\n");
    gitea_with_registration_token_file: only_in_gitea("  url: https://git.example.com\n  registration_token_file: /token\n");
    gitea_url_nonsense: in_gitea("  url: git.example.com\n");
    gitea_url_plain: in_gitea("  url: http://git.example.com\n");
    gitea_url_of_api: in_gitea("  url: https://git.example.com/api/v1/\n");
    gitea_url_with_password: in_gitea("  url: https://me:hunter2hunter2@git.example.com\n");
    gitea_url_with_query: in_gitea("  url: https://git.example.com/?a=b\n");
    gitea_url_of_this_host: in_gitea("  url: http://localhost:3000\n");
    gitea_polled_too_often: in_gitea("  url: https://git.example.com\n  poll_interval: 100ms\n");
    gitea_polled_too_rarely: in_gitea("  url: https://git.example.com\n  poll_interval: 10m\n");
    gitea_audit_too_rare: in_gitea("  url: https://git.example.com\n  audit_interval: 2h\n");
    gitea_with_key_of_github: in_gitea("  url: https://git.example.com\n  app_id: 1\n");
    gitea_proxy_with_password: in_gitea("  url: https://git.example.com\n  proxy: http://me:hunter2hunter2@proxy.example.com:3128\n");
    gitea_webhook_without_secret: in_gitea("  url: https://git.example.com\n  webhook: {listen: \":8090\"}\n");
    gitea_webhook_at_address_of_api: in_gitea("  url: https://git.example.com\n  webhook: {listen: \"127.0.0.1:8080\", secret_file: /secret}\nbind_address: 127.0.0.1:8080\n");
    gitea_of_no_pool: with_pool(GITEA);
    forgejo_with_webhook: with_runner("forgejo:\n  url: https://forgejo.example.com\n  api_token_file: /token\n  webhook: {listen: \":8090\", secret_file: /secret}\n", "scope: instance\nlabels: [x]");
    forge_without_kind: in_forges("  tea:\n    url: https://git.example.com\n    api_token_file: /token\n");
    forge_of_empty_kind: in_forges("  tea:\n    kind:\n    url: https://git.example.com\n");
    forge_of_unknown_kind: in_forges("  tea: {kind: gitae, url: \"https://git.example.com\", api_token_file: /token}\n");
    forge_of_kind_to_come: in_forges("  tea: {kind: gitlab, url: \"https://git.example.com\"}\n");
    forge_of_two_kinds: in_forges("  tea: {kind: gitea, url: \"https://git.example.com\", api_token_file: /token, kind: forgejo}\n");
    forge_of_list_of_kinds: in_forges("  tea: {kind: [gitea], url: \"https://git.example.com\"}\n");
    forge_as_text: in_forges("  tea: https://git.example.com\n");
    forge_of_nothing: in_forges("  tea:\n");
    forges_as_list: in_forges("  - {kind: gitea, name: tea, url: \"https://git.example.com\"}\n");
    forge_twice: in_forges("  tea: {kind: gitea, url: \"https://git.example.com\", api_token_file: /token}\n  tea: {kind: gitea, url: \"https://git.example.org\", api_token_file: /token}\n");
    forge_named_local: told(&format!("forges:\n  local: {{kind: gitea, url: \"https://git.example.com\", api_token_file: /token}}\n{POOL}"));
    forge_named_oddly: in_forges("  Tea: {kind: gitea, url: \"https://git.example.com\", api_token_file: /token}\n");
    forge_in_section_and_list: with_runner(&format!("{GITEA}forges:\n  gitea:\n    kind: gitea\n    url: https://git.example.org\n    api_token_file: /token\n"), "organization: acme\nlabels: [x]");
    forge_with_unknown_keys: in_forges("  tea:\n    kind: gitea\n    url: https://git.example.com\n    api_token_fil: /token\n    insecure: true\n    poll_interval: 3\n");
    forge_with_inline_token: in_forges("  tea:\n    kind: gitea\n    url: https://git.example.com\n    token: hunter2hunter2\n");
    forge_of_github_without_credential: with_runner("forges:\n  ghes:\n    kind: github\n    url: http://github.example.com\n    audit_interval: 1s\n", "organization: acme");
    forge_of_github_of_audit_only: with_runner("forges: {ghes: {kind: github, token_file: /token}}\n", "organization: acme\nscale_set: false\nlabels: [x]");
    webhooks_at_two_addresses: with_runner("github: {token_file: /token, webhook: {listen: \":8090\", secret_file: /secret}}\ngitea:\n  url: https://git.example.com\n  api_token_file: /token\n  webhook:\n    listen: :8091\n    secret_file: /secret\n", "organization: acme");
    webhooks_at_one_path: with_runner("github: {token_file: /token, webhook: {listen: \":8090\", secret_file: /secret}}\ngitea:\n  url: https://git.example.com\n  api_token_file: /token\n  webhook:\n    listen: :8090\n    path: /webhook/github\n    secret_file: /secret\n", "organization: acme");
    runner_of_unknown_forge: with_runner(GITEA, "forge: gitae\norganization: acme\nlabels: [x]");
    runner_of_forge_unlike_all: with_runner(&format!("{GITEA}{GITHUB}"), "forge: codeberg\norganization: acme\nlabels: [x]");
    runner_of_forge_of_no_section: with_runner("", "forge: gitea\norganization: acme\nlabels: [x]");
    runner_of_local_forge: with_runner("", "forge: local\nlabels: [x]");
    runner_of_one_of_several_forges: with_runner("gitea: {url: \"https://git.example.com\", api_token_file: /token}\nforgejo: {url: \"https://forgejo.example.com\", api_token_file: /token}\n", "organization: acme\nlabels: [x]");
    runner_of_wrong_forge_only: with_runner("gitea: {url: \"https://git.example.com\", api_token_file: token}\ngithub: {token_file: /token}\n", "scope: instance\nlabels: [x]");
    runner_of_forge_without_url: with_runner("gitea: {url: 7, api_token_file: /token}\n", "forge: gitea\nscope: instance\nlabels: [x]");
    runner_of_gitea_without_scope: with_runner(GITEA, "forge: gitea\nlabels: [x]");
    runner_of_github_without_scope: with_runner(GITHUB, "forge: github\nlabels: [x]");
    runner_of_enterprise_at_gitea: with_runner(GITEA, "enterprise: acme\nlabels: [x]");
    runner_of_scope_at_github: with_runner(GITHUB, "scope: user\nlabels: [x]");
    runner_of_unknown_scope: with_runner(GITEA, "scope: instanse\nlabels: [x]");
    runner_of_scope_and_organization: with_runner(GITEA, "scope: instance\norganization: acme\nlabels: [x]");
    runner_of_odd_organization_at_gitea: with_runner(GITEA, "organization: acme inc\nlabels: [x]");
    runner_of_owner_without_name_at_gitea: with_runner(GITEA, "repository: widgets\nlabels: [x]");
    runner_of_gitea_without_labels: with_runner(GITEA, "scope: user");
    runner_of_gitea_with_odd_labels: with_runner(GITEA, "scope: user\nlabels: [\"debian:host\", \"debian:vm\", \":host\", \"a:\", \"b:docker://debian:12\"]");
    runner_of_forgejo_with_odd_label: with_runner("forgejo: {url: \"https://forgejo.example.com\", api_token_file: /token}\n", "scope: user\nlabels: [\"a:lxc://debian\", \"a:kvm\"]");
    runner_of_gitea_with_unused_keys: with_runner(GITEA, "scope: user\nlabels: [x]\ngroup: Default\nscale_set: set\nwork_folder: _work\ncommand: [act_runner]");
    runner_of_registration_token: with_runner("gitea: {url: \"https://git.example.com\", runner_token_file: /token}\n", "organization: acme\nlabels: [x]");
    runners_of_registration_token: told("gitea: {url: \"https://git.example.com\", runner_token_file: /token}\nkernel: {image: /k}\npools:\n  - name: a\n    max_runners: 5\n    min_runners: 3\n    runner: {image: i, organization: acme, labels: [x]}\n");
    more_runners_of_registration_token_than_machines: told("gitea: {url: \"https://git.example.com\", runner_token_file: /token}\nkernel: {image: /k}\npools:\n  - name: a\n    max_runners: 2\n    min_runners: 3\n    runner: {image: i, organization: acme, labels: [x]}\n");
    scale_set_twice_at_one_forge: told("forges:\n  one: {kind: github, token_file: /token}\n  two: {kind: github, token_file: /token}\nkernel: {image: /k}\npools:\n- name: a\n  max_runners: 1\n  runner: {image: i, forge: one, organization: acme}\n- name: b\n  max_runners: 1\n  runner: {image: i, forge: two, organization: acme, scale_set: a}\n- name: c\n  max_runners: 1\n  runner: {image: i, forge: two, organization: acme, scale_set: A}\n");
    socket_mode_open: with_pool("api_socket_mode: \"0666\"\n");
    socket_mode_nonsense: with_pool("api_socket_mode: rw\n");
    socket_mode_decimal: with_pool("api_socket_mode: 660\n");
    subnet_too_small: with_pool("network: {subnet: 10.0.0.0/30}\n");
    subnet_with_host_bits: with_pool("network: {subnet: 10.0.0.7/24}\n");
    subnet_public: with_pool("network: {subnet: 8.8.8.0/24}\n");
    subnet_nonsense: with_pool("network: {subnet: 10.0.0.0/99}\n");
    subnet_with_one_address_too_few: told("network: {subnet: 10.0.0.0/29}\nkernel: {image: /k}\npools: [{name: a, max_runners: 5, runner: {image: i, labels: [x]}}]\n");
    subnet_of_one_machine: told("network: {subnet: 10.0.0.0/30}\nkernel: {image: /k}\npools: [{name: a, max_runners: 1, runner: {image: i, labels: [x]}}]\n");
    ipv6_link_local: with_pool("network: {ipv6: {subnet: 'fe80::/64'}}\n");
    ipv6_too_small: with_pool("network: {ipv6: {subnet: 'fd00::/120'}}\n");
    ipv6_with_host_bits: with_pool("network: {ipv6: {subnet: 'fd00::7/64'}}\n");
    ipv6_over_a_narrow_link: with_pool("network: {mtu: 1200, ipv6: {subnet: 'fd00::/64'}}\n");
    bridge_name_of_a_tap: with_pool("network: {bridge: fam0}\n");
    bridge_name_with_dot: with_pool("network: {bridge: br.100}\n");
    image_with_upper_case: told(&POOL.replace("debian", "Ghcr.io/Acme/Img:1"));
    image_with_scheme: told(&POOL.replace("debian", "\"https://ghcr.io/acme/img:1\""));
    image_of_relative_path: told(&POOL.replace("debian", "\"oci:images/ci\""));
    runner_of_address_for_git: with_runner(GITHUB, "repository: acme/w.git");
    dns_of_this_host: with_pool("network: {dns: [127.0.0.53]}\n");
    metrics_beside_every_address: with_pool("bind_address: 127.0.0.1:8081\nmetrics: {enabled: true, address: \"[::]:8081\"}\n");
    metrics_at_the_same_address_in_ipv6: with_pool("bind_address: 127.0.0.1:8081\nmetrics: {enabled: true, address: \"[::ffff:127.0.0.1]:8081\"}\n");
    bridge_name_too_long: with_pool("network: {bridge: fireactions-bridge-0}\n");
    dns_nonsense: with_pool("network: {dns: [one.one.one.one]}\n");
    host_port_nonsense: in_pool("    network: {host_ports: [3128]}\n");
    host_port_protocol: in_pool("    network: {host_ports: [sctp/5]}\n");
    allow_with_host_bits: in_pool("    network: {allow: [10.1.2.3/8]}\n");
    allow_metadata_service: in_pool("    network: {allow: [169.254.0.0/16]}\n");
    registry_cache_of_nothing: with_pool("registry_cache: {enabled: true, mirrors: {}}\n");
    registry_cache_of_odd_names: with_pool("registry_cache:\n  enabled: true\n  mirrors:\n    registry-1.docker.io: {}\n    https://ghcr.io: {}\n    Quay.io: {}\n");
    registry_cache_with_login_in_url: with_pool("registry_cache: {mirrors: {r.lan: {url: \"https://me:secret@r.lan\"}}}\n");
    registry_cache_with_path: with_pool("registry_cache: {mirrors: {r.lan: {url: \"https://r.lan/v2/\"}}}\n");
    registry_cache_without_tls: with_pool("registry_cache: {mirrors: {r.lan: {url: \"http://r.lan:5000\"}, here: {url: \"http://127.0.0.1:5001\"}}}\n");
    registry_cache_at_one_port: with_pool("registry_cache: {enabled: true, mirrors: {docker.io: {}, ghcr.io: {port: 5000}}}\n");
    registry_cache_at_the_port_of_the_api: with_pool("bind_address: \":5001\"\napi_token_file: /t\nregistry_cache: {enabled: true}\n");
    registry_cache_of_zot_with_limit: with_pool("registry_cache: {program: zot, max_size_mib: 1024}\n");
    registry_cache_of_zot_at_one_port: with_pool("registry_cache: {enabled: true, program: zot, port: 5079}\nactions_cache: {enabled: true}\n");
    registry_cache_warm_of_others: with_pool("registry_cache: {mirrors: {ghcr.io: {}}, warm: [\"debian:12\", \"oci:/srv/x\", \"ghcr.io/a/b:1\"]}\n");
    proxy_without_the_cache: with_pool("registry_cache:\n  proxy:\n    enabled: true\n");
    proxy_that_opens_nothing: with_pool("registry_cache:\n  enabled: true\n  proxy:\n    enabled: true\n    ssl_bump: {mode: selective}\n");
    proxy_that_opens_all_and_some: with_pool("registry_cache:\n  enabled: true\n  proxy:\n    enabled: true\n    ssl_bump: {mode: all, domains: [.example.com]}\n");
    proxy_with_odd_domains: with_pool("registry_cache:\n  proxy:\n    ssl_bump: {mode: selective, domains: [\"a\\nhttp_access allow all\", \"*.example.com\", \"\"]}\n");
    proxy_at_the_port_of_a_registry: with_pool("registry_cache: {enabled: true, proxy: {enabled: true, port: 5001}}\n");
    registry_cache_with_password: with_pool("registry_cache: {mirrors: {ghcr.io: {password: hunter2}}}\n");
    actions_cache_smaller_than_a_repository: with_pool("actions_cache:\n  max_size_mib: 1024\n");
    actions_cache_of_nothing: with_pool("actions_cache: {max_size_mib: 0, unused_for: 1s}\n");
    actions_cache_at_the_port_of_registries: with_pool("registry_cache: {enabled: true}\nactions_cache: {enabled: true, port: 5001}\n");
    actions_cache_that_no_job_uses: with_pool("actions_cache: {enabled: true}\n");
    actions_cache_of_days: with_pool("actions_cache: {idle_days: 7}\n");
    actions_cache_in_a_bucket_without_keys: with_pool("actions_cache: {s3: {bucket: ci-cache}}\n");
    actions_cache_in_a_bucket_with_a_secret_inline: with_pool("actions_cache: {s3: {bucket: ci-cache, access_key_id: id, secret_access_key: hunter2, secret_access_key_file: /s}}\n");
    actions_cache_in_a_bucket_of_odd_names: with_pool("actions_cache:\n  s3:\n    bucket: CI_Cache\n    region: \"eu 1\"\n    prefix: /ci//x\n    access_key_id: \"\"\n    secret_access_key_file: /s\n");
    actions_cache_in_a_bucket_without_tls: with_pool("actions_cache: {s3: {bucket: ci-cache, endpoint: \"http://s3.lan:9000\", access_key_id: id, secret_access_key_file: /s}}\n");
    actions_cache_in_a_bucket_with_its_path: with_pool("actions_cache: {s3: {bucket: ci-cache, endpoint: \"https://s3.lan/ci-cache\", access_key_id: id, secret_access_key_file: /s}}\n");
    actions_cache_in_a_bucket_of_a_number: with_pool("actions_cache: {s3: {bucket: ci-cache, endpoint: \"https://10.0.0.9\", path_style: false, access_key_id: id, secret_access_key_file: /s}}\n");
    actions_cache_in_a_bucket_of_no_url: with_pool("actions_cache: {s3: {bucket: ci-cache, endpoint: \"s3.lan:9000\", access_key_id: id, secret_access_key_file: /s}}\n");
    oidc_without_groups: with_pool("api_oidc:\n  issuer: https://sso.lan\n  url: https://ci.lan\n  client_id: ci\n");
    oidc_of_nobody: with_pool("api_oidc: {issuer: \"https://sso.lan\", url: \"https://ci.lan\", client_id: ci, groups: {}}\n");
    oidc_without_tls: with_pool("api_oidc:\n  issuer: http://sso.lan\n  url: http://ci.lan/?x\n  client_id: ci\n  groups: {ops: admin}\n");
    oidc_with_a_secret_inline: with_pool("api_oidc: {issuer: \"https://sso.lan\", url: \"https://ci.lan\", client_id: ci, client_secret: hunter2, groups: {ops: admin}}\n");
    oidc_of_odd_words: with_pool("api_oidc:\n  issuer: https://sso.lan\n  url: https://ci.lan\n  client_id: \"\"\n  scopes: [a b]\n  groups: {ops: root}\n");
    otlp_without_endpoint: with_pool("telemetry:\n  otlp:\n    protocol: grpc\n");
    otlp_with_a_path_by_grpc: with_pool("telemetry: {otlp: {endpoint: \"https://otel.lan:4317/v1/traces\"}}\n");
    otlp_with_the_path_of_traces: with_pool("telemetry: {otlp: {endpoint: \"https://otel.lan:4318/v1/traces\", protocol: http}}\n");
    otlp_without_tls: with_pool("telemetry:\n  otlp:\n    endpoint: http://otel.lan:4317\n");
    otlp_with_login: with_pool("telemetry: {otlp: {endpoint: \"https://me:hunter2@otel.lan\"}}\n");
    otlp_with_no_url: with_pool("telemetry: {otlp: {endpoint: \"otel.lan:4317\"}}\n");
    otlp_by_another_protocol: with_pool("telemetry: {otlp: {endpoint: \"https://otel.lan:4317\", protocol: http/json}}\n");
    otlp_at_the_port_of_the_other: with_pool("telemetry: {otlp: {endpoint: \"https://otel.lan:4318\"}}\n");
    otlp_with_headers_inline: with_pool("telemetry: {otlp: {endpoint: \"https://otel.lan\", headers: {authorization: hunter2}}}\n");
    otlp_of_odd_attributes: with_pool("telemetry:\n  otlp:\n    endpoint: https://otel.lan\n    resource: {\"a b\": x, c: \"y\\nz\"}\n");
    otlp_in_no_time: with_pool("telemetry:\n  otlp:\n    endpoint: https://otel.lan\n    timeout: 10ms\n");
    cluster_of_this_host: with_pool("cluster: {name: ci, nats: {urls: [\"nats://127.0.0.1\"]}}\n");
    cluster_with_creds: with_pool("cluster:\n  name: ci\n  nats: {urls: [\"tls://nats.lan\"], creds_file: credential:nats}\n  host: {name: ci-1, labels: [gpu], zone: dc3}\n");
    cluster_without_nats: with_pool("cluster:\n  name: ci\n");
    cluster_host_all: with_pool("cluster:\n  name: ci\n  nats: {urls: [\"nats://localhost:4222\"]}\n  host: {name: all}\n");
    cluster_of_odd_names: with_pool("cluster:\n  name: C.I\n  nats: {urls: [\"nats://localhost:4222\"]}\n  host:\n    name: ci.example\n    zone: a b\n");
    cluster_without_tls: with_pool("cluster:\n  name: ci\n  nats:\n    urls: [\"tls://a.lan\", \"nats://b.lan:4222\"]\n    creds_file: /creds\n");
    cluster_without_credentials: with_pool("cluster:\n  name: ci\n  nats:\n    urls: [\"tls://a.lan\"]\n    tls: {ca_file: /ca.pem}\n");
    cluster_with_half_a_certificate: with_pool("cluster:\n  name: ci\n  nats:\n    urls: [\"tls://a.lan\"]\n    tls: {cert_file: /host.pem}\n");
    cluster_with_a_key_alone: with_pool("cluster:\n  name: ci\n  nats:\n    urls: [\"tls://a.lan\"]\n    creds_file: /creds\n    tls: {key_file: /host.key}\n");
    cluster_with_a_password: with_pool("cluster: {name: ci, nats: {urls: [\"tls://me:hunter2@a.lan\", \"http://a.lan\", \"tls://a.lan/x\"]}}\n");
    cluster_of_no_servers: with_pool("cluster: {name: ci, nats: {urls: []}}\n");
    cluster_with_a_scale_set: with_runner("cluster: {name: ci, nats: {urls: [\"nats://localhost\"]}}\ngithub: {app_id: 1, app_private_key_file: /key.pem}\n", "organization: acme");
    cluster_with_gitea: with_runner(&format!("cluster: {{name: ci, nats: {{urls: [\"nats://localhost\"]}}}}\n{GITEA}"), "organization: acme\nlabels: [x]");
    cluster_without_a_scale_set: with_runner("cluster: {name: ci, nats: {urls: [\"nats://localhost\"]}}\ngithub: {app_id: 1, app_private_key_file: /key.pem}\n", "organization: acme\nscale_set: false");
    registry_with_scheme: with_pool("images: {insecure_registries: [\"https://r:5000/x\"]}\n");
    mirror_with_scheme: with_pool("images: {mirrors: {docker.io: [\"m.lan\", \"https://m.lan\"]}}\n");
    mirror_with_odd_path: with_pool("images: {mirrors: {docker.io: [\"m.lan:5000/Hub/\"]}}\n");
    mirrors_of_no_registry: with_pool("images: {mirrors: {\"docker.io/library\": [m.lan]}}\n");
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
    start_of_the_images_init: in_firecracker("    init: image\n    start: snapshot\n    firecracker: {user_data: \"#cloud-config\"}\n");
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
        "api_tokens: hunter2hunter2\n",
        "api_tokens: [hunter2hunter2]\n",
        "api_tokens: [{name: ci, role: admin, token: hunter2hunter2}]\n",
        "api_tokens: [{name: ci, role: admin, file: hunter2hunter2}]\n",
        "basic_auth_users: {admin: hunter2hunter2}\n",
        "webhook_secret: hunter2hunter2\n",
        "github: {app_private_key: hunter2hunter2, app_idd: 1}\n",
        "{api_tokn: hunter2hunter2, log_level: inof}\n",
        "github:\n  app_id: 1\n  app_private_key: -----BEGIN\n    hunter2hunter2hunter2hunter2: x\n     y\n",
        "api_token: \"hunter2hunter2\n",
        "github: {app_id: x, app_private_key: hunter2hunter2}\n",
        "- api_token: hunter2hunter2\n",
        "github: {app_id: 1, proxy: \"http://me:hunter2hunter2@proxy:3128\"}\n",
        "github: {url: \"https://hunter2hunter2@github.com\"}\n",
        "github:\n  app_id: github_pat_hunter2hunter2\n",
        "github: {token_file: ghp_hunter2hunter2}\n",
        "github: {webhook: {secret: hunter2hunter2}}\n",
        "github:\n  webhook:\n    secret_files:\n    - hunter2hunter2\n",
        "github:\n  apps:\n  - {app_id: 1, private_key: hunter2hunter2}\n",
        "gitea: {url: \"https://g\", token: hunter2hunter2}\n",
        "gitea: {url: \"https://hunter2hunter2@g\", api_token_file: /t}\n",
        "gitea:\n  api_token_file: hunter2hunter2\n",
        "forgejo: {runner_token: hunter2hunter2}\n",
        "forges:\n  x: {kind: gitea, runner_token: hunter2hunter2}\n",
        "forges:\n  x: {kind: gitlab, token: hunter2hunter2}\n",
        "forges:\n  x: {token: hunter2hunter2}\n",
        // A proxy's password, however the proxy is written.
        "github: {proxy: \"me:hunter2hunter2@proxy:3128\"}\n",
        "github:\n  proxy: me:hunter2 hunter2@proxy:3128\n",
        "github:\n  proxy: >\n    me:hunter2hunter2@proxy\n",
        "github:\n  proxy: //me:hunter2hunter2@proxy:3128/\n",
        "github:\n  proxi: me:hunter2hunter2@proxy:3128\n",
        "github:\n  - me:hunter2hunter2@proxy:3128\n",
        "images: {insecure_registries: [\"me:hunter2hunter2@registry\"]}\n",
        // Keys that do not look like what they are, and values on another line than their key.
        "\"api_tok\\u0065n\": hunter2hunter2\n",
        "? api_token\n: hunter2hunter2\n",
        "? api_tokn\n: hunter2hunter2\n",
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

/// Keys and values of other programs' files: what they mean here, and what is told of them.
#[test]
fn foreign_values() {
    let theirs = "    shutdown_on_exit: false\n    firecracker:\n      cni_conf_dir: /etc/cni\n      cni_bin_dirs: [/a, /b]\n      binary_path: firecracker\n      kernel_args: console=ttyS0 quiet rw\n      metadata: {user-data: \"#cloud-config\", a: b}\n  - name: b\n    shutdown_on_exit: false\n    runner: {image: debian, labels: [22.04, x, 1.10]}\n    firecracker: {cni_conf_dir: /x, kernel_args: panic=1 rw}\n";
    insta::assert_snapshot!("foreign_warned", in_pool(theirs));
    insta::assert_snapshot!(
        "foreign_containerd",
        with_pool("containerd: {address: /run/c.sock, namespace: n}\n")
    );
    insta::assert_snapshot!(
        "foreign_metrics_are_there_already",
        with_pool("bind_address: 127.0.0.1:8081\nbasic_auth_enabled: false\n")
    );
    insta::assert_snapshot!(
        "foreign_basic_auth_disabled",
        with_pool("basic_auth_enabled: no\nmetrics: {enabled: off}\n")
    );
    insta::assert_snapshot!("foreign_basic_auth_quoted", with_pool("basic_auth_enabled: \"no\"\n"));
    insta::assert_snapshot!(
        "foreign_fireteact",
        told("gitea: {instanceURL: null}\npools:\n- {name: a, maxRunners: 1}\n")
    );
    insta::assert_snapshot!(
        "foreign_fireglab",
        told("logLevel: info\ngitlab: {accessToken: hunter2hunter2}\n")
    );
    insta::assert_snapshot!(
        "foreign_key_in_a_gitea_of_ours",
        in_gitea("  url: https://g\n  runnerScope: org\n")
    );
    insta::assert_snapshot!(
        "foreign_user_data_twice",
        in_pool("    firecracker: {user_data: a, metadata: {user-data: b}}\n")
    );
    insta::assert_snapshot!(
        "foreign_replicas",
        told(
            "kernel: {image: /k}\npools:\n- name: a\n  replicas: 0\n  shutdown_on_exit: true\n  runner: {image: i, labels: [x]}\n- name: b\n  min_runners: 1\n  runner: {image: i, labels: [x]}\n"
        )
    );
}

#[test]
fn foreign_values_have_their_meaning() {
    let text = "metrics: {enabled: yes}\nkernel: {image: /k}\npools:\n- name: a\n  replicas: 0\n  runner: {image: i, labels: [22.04, 22, 1.10, '3.0']}\n  firecracker: {kernel_args: rw quiet, metadata: {user-data: cloud, a: b}}\n";
    let loaded = parse(Path::new("c"), text.as_bytes(), &HOST).unwrap();
    let pool = &loaded.config.pools()[0];
    let labels: Vec<&str> = pool.labels.iter().map(fireactions_model::Label::as_str).collect();
    assert_eq!(labels, ["1.10", "22", "22.04", "3.0"]);
    assert_eq!((pool.min_runners, pool.max_runners, pool.kernel.args.as_str()), (0, 0, "quiet"));
    assert_eq!(pool.user_data.as_deref(), Some("cloud"));
    assert_eq!(pool.metadata, serde_json::json!({"a": "b"}));
    assert_eq!(loaded.config.metrics.listen(), Some("127.0.0.1:8081".parse().unwrap()));
}

#[test]
fn metrics_are_where_the_file_says() {
    let listen = |text: &str| {
        parse(Path::new("c"), with_kernel(text).as_bytes(), &HOST).unwrap().config.metrics.listen()
    };
    let usual = Some("127.0.0.1:8081".parse().unwrap());
    let other = Some("127.0.0.1:9".parse().unwrap());
    for (text, expected) in [
        ("", None),
        ("metrics:\n", None),
        ("metrics: {enabled: true}\n", usual),
        ("metrics: {address: 127.0.0.1:9}\n", other),
        ("metrics: {address: 127.0.0.1:9, enabled: false}\n", None),
        // Files of another program, as it would read them.
        ("containerd: {}\n", usual),
        ("containerd: {}\nmetrics: {enabled: false}\n", None),
        ("containerd: {}\nmetrics: {address: 127.0.0.1:9}\n", other),
        ("basic_auth_enabled: false\nbind_address: 127.0.0.1:8081\n", None),
    ] {
        assert_eq!(listen(text), expected, "{text}");
    }
}

fn with_kernel(text: &str) -> String {
    format!("{text}{POOL}")
}
