//! Configurations that other programs of this kind have published, unchanged: what each is told.

use std::collections::BTreeMap;
use std::path::Path;

use fireactions_config::{Host, parse, translate};
use fireactions_testkit::published;

/// A message, the line that its help says to write, and what of the file it is about, as the table of docs/switching.md names it.
pub(crate) type Told = (&'static str, &'static str, &'static str);

const ENABLED: Told = (
    "basic_auth_enabled: basic authentication is not supported, and passwords do not belong in this file",
    "'api_token_file: /etc/fireactions/api-token'",
    "`basic_auth_enabled`",
);
const USERS: Told = (
    "basic_auth_users: basic authentication is not supported, and passwords do not belong in this file",
    "'api_token_file: /etc/fireactions/api-token'",
    "`basic_auth_users`",
);
const KEY: Told = (
    "github.app_private_key: secrets do not belong in this file",
    "'app_private_key_file: /etc/fireactions/github-app.pem'",
    "`app_private_key`",
);
const WEBHOOK: Told = (
    "github.webhook_secret: secrets do not belong in this file",
    "'webhook: {listen: 127.0.0.1:8090, secret_file: /etc/fireactions/github-webhook}'",
    "`webhook_secret`",
);
const OPEN: Told = (
    "bind_address 0.0.0.0:8080 can be reached from other hosts, so the API needs a token",
    "'api_token_file: credential:api-token'",
    "`bind_address`",
);
/// Not a file that ran anywhere: what a script or a person puts in is not in it yet.
const NO_ID: Told = (
    "github.app_id: this is not an App's id: write its number, or its client id (Iv…), as its page on GitHub shows it",
    "",
    "`app_id` to be filled in",
);
const NO_ORGANIZATION: Told = (
    "'$GITHUB_ORGANIZATION' is not a valid GitHub organization: use letters, digits, '-' and '_', as in the address of its page",
    "the URL of its page",
    "`organization` to be filled in",
);
/// Parts of files.
const NO_FORGE: Told = (
    "the runners of pool 'example' belong to a forge, but none is declared",
    "'github: {app_id: N, app_private_key_file: /etc/fireactions/github-app.pem}'",
    "no `github`",
);
const NO_IMAGE: Told = (
    "runner.image '<IMAGE>:<IMAGE_TAG>' of pool 'example' can never be pulled",
    "",
    "`image` to be filled in",
);
const NO_KERNEL: Told =
    ("pool 'default' has no guest kernel", "'image: /path/to/vmlinuz' below 'kernel:'", "no kernel");
const NO_RUNNER: Told = ("key 'runner' is missing in pools[0]", "'runner: …'", "no `runner`");
const FIRETEACT: Told = (
    "this is a configuration of fireteact, whose keys are others",
    "'fireactions migrate FILE'",
    "one sentence: a file of fireteact",
);
const FIREGLAB: Told = (
    "this is a configuration of fireglab, and GitLab is not supported yet",
    "leave runners of a GitLab to fireglab",
    "one sentence: a file of fireglab",
);

/// File, its name in the table, and what it is told.
pub(crate) const VERDICTS: [(&str, &str, &[Told]); 29] = [
    (
        "hostinger-v0.1.0-docs_user_guide_configuration_md_0",
        "fireactions v0.1.0, `docs/user-guide/configuration.md`",
        &[ENABLED, USERS, KEY, WEBHOOK],
    ),
    (
        "hostinger-v0.1.0-server_testdata_config1_yaml",
        "fireactions v0.1.0, `server/testdata/config1.yaml`",
        &[ENABLED, USERS, KEY, WEBHOOK],
    ),
    (
        "hostinger-v0.2.0-docs_user_guide_configuration_md_0",
        "fireactions v0.2.0, `docs/user-guide/configuration.md`",
        &[ENABLED, USERS, KEY, WEBHOOK],
    ),
    (
        "hostinger-v0.2.0-server_testdata_config1_yaml",
        "fireactions v0.2.0, `server/testdata/config1.yaml`",
        &[ENABLED, USERS, KEY, WEBHOOK],
    ),
    (
        "hostinger-v0.2.4-docs_user_guide_configuration_md_0",
        "fireactions v0.2.4, `docs/user-guide/configuration.md`",
        &[ENABLED, USERS, KEY],
    ),
    (
        "hostinger-v0.2.4-server_testdata_config1_yaml",
        "fireactions v0.2.4, `server/testdata/config1.yaml`",
        &[ENABLED, USERS, KEY],
    ),
    (
        "hostinger-v0.2.5-docs_user_guide_concepts_md_0",
        "fireactions v0.2.5, `docs/user-guide/concepts.md`",
        &[NO_FORGE, NO_IMAGE],
    ),
    ("hostinger-v0.2.6-install_sh", "fireactions v0.2.6, `install.sh`", &[NO_ID, KEY, NO_ORGANIZATION]),
    (
        "hostinger-v1.0.0-docs_user_guide_concepts_md_0",
        "fireactions v1.0.0, `docs/user-guide/concepts.md`",
        &[NO_FORGE, NO_IMAGE],
    ),
    (
        "hostinger-v1.0.0-docs_user_guide_configuration_md_0",
        "fireactions v1.0.0, `docs/user-guide/configuration.md`",
        &[ENABLED, USERS, KEY],
    ),
    ("hostinger-v1.0.0-install_sh", "fireactions v1.0.0, `install.sh`", &[NO_ID, KEY, NO_ORGANIZATION]),
    (
        "hostinger-v1.0.0-server_testdata_config1_yaml",
        "fireactions v1.0.0, `server/testdata/config1.yaml`",
        &[ENABLED, USERS, KEY],
    ),
    (
        "hostinger-v2.0.0-docs_user_guide_concepts_md_0",
        "fireactions v2.0.0, `docs/user-guide/concepts.md`",
        &[NO_FORGE, NO_IMAGE],
    ),
    (
        "hostinger-v2.0.0-docs_user_guide_configuration_md_0",
        "fireactions v2.0.0, `docs/user-guide/configuration.md`",
        &[OPEN, KEY],
    ),
    (
        "hostinger-v2.0.0-docs_user_guide_installation_md_21",
        "fireactions v2.0.0, `docs/user-guide/installation.md`",
        &[NO_ID, KEY],
    ),
    (
        "hostinger-v2.0.1-docs_user_guide_images_md_1",
        "fireactions v2.0.1, `docs/user-guide/images.md`",
        &[NO_KERNEL],
    ),
    (
        "hostinger-v2.0.1-docs_user_guide_kernels_md_9",
        "fireactions v2.0.1, `docs/user-guide/kernels.md`",
        &[NO_RUNNER],
    ),
    ("thpham-head-fireglab-base", "nixos-fireactions main, fireglab, as its modules render it", &[FIREGLAB]),
    (
        "thpham-head-fireglab-injected",
        "nixos-fireactions main, fireglab, with its secrets put in",
        &[FIREGLAB],
    ),
    ("thpham-head-fireglab-readme-3", "nixos-fireactions main, `fireglab/README.md`", &[FIREGLAB]),
    (
        "thpham-head-fireteact-base",
        "nixos-fireactions main, fireteact, as its modules render it",
        &[FIRETEACT],
    ),
    (
        "thpham-head-fireteact-injected",
        "nixos-fireactions main, fireteact, with its secrets put in",
        &[FIRETEACT],
    ),
    ("thpham-head-fireteact-readme-3", "nixos-fireactions main, `fireteact/README.md`", &[FIRETEACT]),
    (
        "thpham-head-readme-base",
        "nixos-fireactions main, its README, as its modules render it",
        &[OPEN, NO_ID, KEY],
    ),
    (
        "thpham-head-readme-injected",
        "nixos-fireactions main, its README, with its secrets put in",
        &[OPEN, KEY],
    ),
    (
        "thpham-head-small-cache-base",
        "nixos-fireactions main, profiles `dev`, `small`, `registry-cache`, as its modules render it",
        &[OPEN, NO_ID, KEY],
    ),
    (
        "thpham-head-small-cache-injected",
        "nixos-fireactions main, profiles `dev`, `small`, `registry-cache`, with its secrets put in",
        &[OPEN, KEY],
    ),
    (
        "thpham-page-readme-base",
        "nixos-fireactions pull request 6, its README, as its modules render it",
        &[OPEN, NO_ID, KEY],
    ),
    (
        "thpham-page-readme-injected",
        "nixos-fireactions pull request 6, its README, with its secrets put in",
        &[OPEN, KEY],
    ),
];

#[test]
fn each_is_told_only_what_must_not_stand_in_a_file() {
    let Some(files) = published::files("each_is_told_only_what_must_not_stand_in_a_file") else { return };
    let mut verdicts = BTreeMap::from(VERDICTS.map(|(name, _, told)| (name, told)));
    for (name, bytes) in files {
        let expected = verdicts.remove(name.trim_end_matches(".yaml"));
        let expected = expected.unwrap_or_else(|| panic!("{name} has no verdict here"));
        let errors = parse(Path::new(&name), &bytes, &Host::unknown()).expect_err(&name);
        let messages: Vec<&str> = errors.errors.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(messages, expected.iter().map(|(message, ..)| *message).collect::<Vec<_>>(), "{name}");
        for (error, (message, line, _)) in errors.errors.iter().zip(expected) {
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
