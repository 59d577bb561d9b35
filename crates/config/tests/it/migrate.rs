//! What is made of other programs' files, and of ours.

use std::path::Path;

use fireactions_config::{Host, parse, translate};
use proptest::prelude::*;

fn migrated(text: &str) -> String {
    match translate(Path::new("old.yaml"), text.as_bytes()) {
        Ok(migrated) => format!("{}unfinished: {}", migrated.text, migrated.unfinished),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn comments_tell_what_changed() {
    insta::assert_snapshot!(
        "migrated_fireactions",
        migrated(
            "bind_address: :8080\nbasic_auth_enabled: true\nbasic_auth_users: {me: hunter2hunter2}\ncontainerd: {address: /x}\ngithub:\n  app_id: 7\n  app_private_key: |\n    hunter2hunter2\n  webhook_secret: hunter2hunter2\npools:\n- name: a\n  replicas: 2\n  shutdown_on_exit: false\n  runner:\n    name: a\n    image: registry.example.com/a:1\n    organization: acme\n    labels: [22.04, \"yes\", a b]\n  firecracker:\n    binary_path: firecracker\n    kernel_image_path: /k\n    kernel_args: console=ttyS0 quiet rw\n    cni_conf_dir: /x\n    metadata:\n      instance-id: i-a\n      user-data: |\n        #cloud-config\n          - x\n\n        y: z\n"
        )
    );
    insta::assert_snapshot!(
        "migrated_fireteact",
        migrated(
            "server: {address: 127.0.0.1:8082, metricsAddress: 127.0.0.1:8083}\nlogLevel: debug\ngitea:\n  instanceURL: $URL\n  apiToken: hunter2hunter2\n  runnerScope: repo\n  runnerOwner: acme\n  runnerRepo: widgets\npools:\n- name: a\n  minRunners: 1\n  maxRunners: 3\n  runner: {image: registry.example.com/a:1, labels: [linux], imagePullPolicy: Always}\n  firecracker: {kernelPath: /k, memSizeMib: 512, vcpuCount: 2, kernelArgs: rw}\n"
        )
    );
    insta::assert_snapshot!(
        "migrated_nothing_while_there_is_a_mistake",
        migrated(
            "github: {app_id: 7, app_private_key: hunter2hunter2}\npools: [{name: a b, replicas: 1, runner: {image: i}}]\n"
        )
    );
    insta::assert_snapshot!("migrated_fireglab", migrated("gitlab: {accessToken: hunter2hunter2}\n"));
    insta::assert_snapshot!("migrated_empty", migrated(""));
}

#[test]
fn files_of_our_own_stay_what_they_are() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for name in ["config.yaml", "minimal.yaml", "github.yaml", "gitea.yaml", "forgejo.yaml"] {
        let bytes = std::fs::read(examples.join(name)).unwrap();
        let migrated = translate(Path::new(name), &bytes).unwrap_or_else(|errors| panic!("{errors}"));
        let read = |bytes: &[u8]| {
            let loaded = parse(Path::new(name), bytes, &Host::unknown());
            format!("{:#?}", loaded.unwrap_or_else(|errors| panic!("{errors}\n{}", migrated.text)).config)
        };
        assert_eq!(read(migrated.text.as_bytes()), read(&bytes), "{}", migrated.text);
        assert_eq!(migrated.unfinished, 0, "{}", migrated.text);
    }
}

proptest! {
    /// Whatever a text is, it is the same text in the file that is written.
    #[test]
    fn texts_are_written_as_what_they_are(
        texts in prop::collection::vec(prop_oneof!["\\PC{0,20}", "(?s).{0,20}", "[ a#:\n|>'\"-]{0,12}", "[a-z: \n]{0,40}\n?"], 1..6),
    ) {
        let metadata: serde_json::Map<String, serde_json::Value> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| (format!("k{index}"), text.as_str().into()))
            .collect();
        let file = serde_json::json!({
            "kernel": {"image": "/k"},
            "pools": [{"name": "a", "max_runners": 1, "runner": {"image": "i", "labels": ["x"]}, "firecracker": {"metadata": metadata}}],
        });
        let before = parse(Path::new("c"), file.to_string().as_bytes(), &Host::unknown());
        prop_assume!(before.is_ok());
        let written = translate(Path::new("c"), file.to_string().as_bytes()).unwrap();
        let after = parse(Path::new("c"), written.text.as_bytes(), &Host::unknown());
        let after = after.unwrap_or_else(|errors| panic!("{errors}\n{}", written.text));
        let metadata = |config: &fireactions_config::Config| config.pools()[0].metadata.clone();
        prop_assert_eq!(metadata(&before.unwrap().config), metadata(&after.config), "{}", written.text);
    }
}
