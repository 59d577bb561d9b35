//! Configurations that other programs of this kind have published, unchanged: what each is told.

use std::collections::BTreeMap;
use std::path::Path;

use fireactions_config::{Host, parse, translate};
use fireactions_testkit::published;

/// A message, and the line that its help says to write.
type Told = (&'static str, &'static str);

const ENABLED: Told = (
    "basic_auth_enabled: basic authentication is not supported, and passwords do not belong in this file",
    "'api_token_file: /etc/fireactions/api-token'",
);
const USERS: Told = (
    "basic_auth_users: basic authentication is not supported, and passwords do not belong in this file",
    "'api_token_file: /etc/fireactions/api-token'",
);
const KEY: Told = (
    "github.app_private_key: secrets do not belong in this file",
    "'app_private_key_file: /etc/fireactions/github-app.pem'",
);
const WEBHOOK: Told = (
    "github.webhook_secret: secrets do not belong in this file",
    "'webhook: {listen: 127.0.0.1:8090, secret_file: /etc/fireactions/github-webhook}'",
);
const OPEN: Told = (
    "bind_address 0.0.0.0:8080 can be reached from other hosts, so the API needs a token",
    "'api_token_file: credential:api-token'",
);
/// Not a file that ran anywhere: what a script or a person puts in is not in it yet.
const NO_ID: Told = (
    "github.app_id: this is not an App's id: write its number, or its client id (Iv…), as its page on GitHub shows it",
    "",
);
const NO_ORGANIZATION: Told = (
    "'$GITHUB_ORGANIZATION' is not a valid GitHub organization: use letters, digits, '-' and '_', as in the address of its page",
    "the URL of its page",
);
/// Parts of files.
const NO_FORGE: Told = (
    "the runners of pool 'example' belong to a forge, but none is declared",
    "'github: {app_id: N, app_private_key_file: /etc/fireactions/github-app.pem}'",
);
const NO_IMAGE: Told = ("runner.image '<IMAGE>:<IMAGE_TAG>' of pool 'example' can never be pulled", "");
const NO_KERNEL: Told = ("pool 'default' has no guest kernel", "'image: /path/to/vmlinuz' below 'kernel:'");
const NO_RUNNER: Told = ("key 'runner' is missing in pools[0]", "'runner: …'");
const FIRETEACT: Told =
    ("this is a configuration of fireteact, whose keys are others", "'fireactions migrate FILE'");
const FIREGLAB: Told = (
    "this is a configuration of fireglab, and GitLab is not supported yet",
    "leave runners of a GitLab to fireglab",
);

const VERDICTS: [(&str, &[Told]); 29] = [
    ("hostinger-v0.1.0-docs_user_guide_configuration_md_0", &[ENABLED, USERS, KEY, WEBHOOK]),
    ("hostinger-v0.1.0-server_testdata_config1_yaml", &[ENABLED, USERS, KEY, WEBHOOK]),
    ("hostinger-v0.2.0-docs_user_guide_configuration_md_0", &[ENABLED, USERS, KEY, WEBHOOK]),
    ("hostinger-v0.2.0-server_testdata_config1_yaml", &[ENABLED, USERS, KEY, WEBHOOK]),
    ("hostinger-v0.2.4-docs_user_guide_configuration_md_0", &[ENABLED, USERS, KEY]),
    ("hostinger-v0.2.4-server_testdata_config1_yaml", &[ENABLED, USERS, KEY]),
    ("hostinger-v0.2.5-docs_user_guide_concepts_md_0", &[NO_FORGE, NO_IMAGE]),
    ("hostinger-v0.2.6-install_sh", &[NO_ID, KEY, NO_ORGANIZATION]),
    ("hostinger-v1.0.0-docs_user_guide_concepts_md_0", &[NO_FORGE, NO_IMAGE]),
    ("hostinger-v1.0.0-docs_user_guide_configuration_md_0", &[ENABLED, USERS, KEY]),
    ("hostinger-v1.0.0-install_sh", &[NO_ID, KEY, NO_ORGANIZATION]),
    ("hostinger-v1.0.0-server_testdata_config1_yaml", &[ENABLED, USERS, KEY]),
    ("hostinger-v2.0.0-docs_user_guide_concepts_md_0", &[NO_FORGE, NO_IMAGE]),
    ("hostinger-v2.0.0-docs_user_guide_configuration_md_0", &[OPEN, KEY]),
    ("hostinger-v2.0.0-docs_user_guide_installation_md_21", &[NO_ID, KEY]),
    ("hostinger-v2.0.1-docs_user_guide_images_md_1", &[NO_KERNEL]),
    ("hostinger-v2.0.1-docs_user_guide_kernels_md_9", &[NO_RUNNER]),
    ("thpham-head-fireglab-base", &[FIREGLAB]),
    ("thpham-head-fireglab-injected", &[FIREGLAB]),
    ("thpham-head-fireglab-readme-3", &[FIREGLAB]),
    ("thpham-head-fireteact-base", &[FIRETEACT]),
    ("thpham-head-fireteact-injected", &[FIRETEACT]),
    ("thpham-head-fireteact-readme-3", &[FIRETEACT]),
    ("thpham-head-readme-base", &[OPEN, NO_ID, KEY]),
    ("thpham-head-readme-injected", &[OPEN, KEY]),
    ("thpham-head-small-cache-base", &[OPEN, NO_ID, KEY]),
    ("thpham-head-small-cache-injected", &[OPEN, KEY]),
    ("thpham-page-readme-base", &[OPEN, NO_ID, KEY]),
    ("thpham-page-readme-injected", &[OPEN, KEY]),
];

#[test]
fn each_is_told_only_what_must_not_stand_in_a_file() {
    let Some(files) = published::files("each_is_told_only_what_must_not_stand_in_a_file") else { return };
    let mut verdicts = BTreeMap::from(VERDICTS);
    for (name, bytes) in files {
        let expected = verdicts.remove(name.trim_end_matches(".yaml"));
        let expected = expected.unwrap_or_else(|| panic!("{name} has no verdict here"));
        let errors = parse(Path::new(&name), &bytes, &Host::unknown()).expect_err(&name);
        let messages: Vec<&str> = errors.errors.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(messages, expected.iter().map(|(message, _)| *message).collect::<Vec<_>>(), "{name}");
        for (error, (message, line)) in errors.errors.iter().zip(expected) {
            assert!(error.help.as_deref().unwrap_or_default().contains(line), "{name}: {message}\n{errors}");
        }
        for secret in ["password1", "KEY-BODY", "glpat", "PRIVATE_KEY_CONTENT", ": secret\n"] {
            assert!(!errors.to_string().contains(secret), "{name}\n{errors}");
        }
    }
    assert!(verdicts.is_empty(), "there is no file of {verdicts:?}");
}

/// What is left to be told of files that are only parts: their pools have no size, and one has no labels.
const PARTS: [&str; 2] =
    ["has no machines until it is scaled", "has no labels, so it serves only jobs that ask for none"];

#[test]
fn each_is_migrated_to_a_file_that_is_valid() {
    let Some(files) = published::files("each_is_migrated_to_a_file_that_is_valid") else { return };
    for (name, bytes) in files {
        let migrated = match translate(Path::new(&name), &bytes) {
            Ok(migrated) => migrated,
            Err(errors) => {
                assert!(name.contains("fireglab"), "{name}: {errors}");
                assert_eq!(errors.errors[0].message, FIREGLAB.0);
                continue;
            }
        };
        let text = migrated.text;
        let loaded = parse(Path::new(&name), text.as_bytes(), &Host::unknown());
        let loaded = loaded.unwrap_or_else(|errors| panic!("{name}: {errors}\n{text}"));
        let warnings: Vec<&String> = loaded.warnings.iter().map(|warning| &warning.message).collect();
        let is_part = name.contains("images_md") || name.contains("kernels_md");
        let fine = |text: &&String| is_part && PARTS.iter().any(|part| text.contains(part));
        assert!(warnings.iter().all(fine), "{name}: {warnings:?}\n{text}");
        for secret in [
            "password1",
            "KEY-BODY",
            "-----BEGIN",
            "glpat",
            "api-token\"",
            "PRIVATE_KEY_CONTENT",
            ": secret\n",
        ] {
            assert!(!text.contains(secret), "{name}\n{text}");
        }
        // Nothing is left to be done in files that ran somewhere.
        let complete =
            name.contains("injected") || name.contains("config1") || name.contains("configuration");
        assert!(!complete || migrated.unfinished == 0, "{name}\n{text}");
        assert_eq!(text.matches("# TODO").count(), migrated.unfinished, "{name}\n{text}");
        assert!(!loaded.config.pools().is_empty(), "{name}");
    }
}
