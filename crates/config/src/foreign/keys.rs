//! The foreign keys of files that otherwise are like ours: those of hostinger's and thpham's fireactions, and secrets.

use std::ops::Range;

use fireactions_model::network_rules::overlap;

use super::{Foreign, Ids, Means, Note, Notes, Refused, Severity, foreign, section, theirs};
use crate::problem::Problem;
use crate::schema::{ListenAddress, MetricsConfig};
use crate::tree::{Node, Value};

const INLINE: &str = "secrets do not belong in this file";

const APP_KEY: Refused = Refused {
    why: INLINE,
    line: "app_private_key_file: /etc/fireactions/github-app.pem",
    todo: "put the App's private key there, with mode 0600 (or name another file, or credential:NAME of systemd)",
};
const WEBHOOK: Refused = Refused {
    why: INLINE,
    line: "webhook: {listen: 127.0.0.1:8090, secret_file: /etc/fireactions/github-webhook}",
    todo: "put the secret there, with mode 0600; or leave the webhook out: jobs are found without one",
};
const API_TOKEN: Refused = Refused {
    why: INLINE,
    line: "api_token_file: /etc/fireactions/api-token",
    todo: "put the token there, with mode 0600 (or name another file, or credential:NAME of systemd)",
};
const BASIC_AUTH: Refused = Refused {
    why: "basic authentication is not supported, and passwords do not belong in this file",
    line: "api_token_file: /etc/fireactions/api-token",
    todo: "put a bearer token there, with mode 0600 (or name another file, or credential:NAME of systemd)",
};
const FORGE_TOKEN: Refused = Refused {
    why: INLINE,
    line: "api_token_file: /etc/fireactions/forge-token",
    todo: "put the access token there, with mode 0600 (a registration token's key is runner_token_file)",
};
const RUNNER_TOKEN: Refused = Refused {
    why: INLINE,
    line: "runner_token_file: /etc/fireactions/runner-token",
    todo: "put the registration token there, with mode 0600 (or name another file, or credential:NAME of systemd)",
};

/// Secrets that people write into files of any kind.
pub(super) const SECRETS: &[Foreign] = &[
    foreign(&[], &["api_token"], |_| Means::Refused(&API_TOKEN)),
    foreign(&["forges", "*"], &["app_private_key"], |_| Means::Refused(&APP_KEY)),
    foreign(&["gitea"], &["api_token"], |_| Means::Refused(&FORGE_TOKEN)),
    foreign(&["gitea"], &["runner_token"], |_| Means::Refused(&RUNNER_TOKEN)),
    foreign(&["gitea"], &["token"], |_| Means::Refused(&FORGE_TOKEN)),
    foreign(&["forgejo"], &["api_token"], |_| Means::Refused(&FORGE_TOKEN)),
    foreign(&["forgejo"], &["runner_token"], |_| Means::Refused(&RUNNER_TOKEN)),
    foreign(&["forgejo"], &["token"], |_| Means::Refused(&FORGE_TOKEN)),
    foreign(&["forges", "*"], &["api_token"], |_| Means::Refused(&FORGE_TOKEN)),
    foreign(&["forges", "*"], &["runner_token"], |_| Means::Refused(&RUNNER_TOKEN)),
    foreign(&["forges", "*"], &["token"], |_| Means::Refused(&FORGE_TOKEN)),
];

const CNI: Means = Means::Unused(
    "the server makes the machines' network itself, without CNI",
    "remove it; docs/network.md tells what 'network:' can be told",
);

/// Keys that only those files have, and keys that mean something else in them.
pub(super) const THEIRS: &[Foreign] = &[
    theirs(&["github"], &["app_private_key"], |_| Means::Refused(&APP_KEY)),
    theirs(&["github"], &["webhook_secret"], |_| Means::Refused(&WEBHOOK)),
    theirs(&[], &["basic_auth_enabled"], |value| {
        if value.switch() == Some(false) || !value.is_given() {
            return Means::Anyway("there is no basic authentication");
        }
        Means::Refused(&BASIC_AUTH)
    }),
    theirs(&[], &["basic_auth_users"], |value| match &value.value {
        Value::Null => Means::Anyway("there is no basic authentication"),
        Value::Map(users) if users.is_empty() => Means::Anyway("there is no basic authentication"),
        _ => Means::Refused(&BASIC_AUTH),
    }),
    theirs(&[], &["containerd"], |_| {
        Means::Unused(
            "the server gets and converts images itself, without containerd",
            "remove it; 'images:' is about the server's own store",
        )
    }),
    theirs(&["pools", "*"], &["shutdown_on_exit"], |value| {
        if value.switch() == Some(true) || !value.is_given() {
            return Means::Anyway("a machine always ends with its job");
        }
        Means::Unused(
            "a machine always ends with its job",
            "remove it; 'on_failure: {hold: {for: 30m}}' keeps the machine of a job that failed",
        )
    }),
    foreign(&["pools", "*"], &["image"], |_| Means::Moved(&["runner", "image"])),
    foreign(&["pools", "*"], &["kernel_image_path"], |_| Means::Moved(&["firecracker", "kernel_image_path"])),
    theirs(&["pools", "*", "firecracker"], &["cni_conf_dir"], |_| CNI),
    theirs(&["pools", "*", "firecracker"], &["cni_bin_dirs"], |_| CNI),
    foreign(&["pools", "*", "firecracker"], &["metadata", "user-data"], |value| match value.value {
        // Anything else is data like any other.
        Value::Text(_) => Means::Moved(&["user_data"]),
        _ => Means::Ours,
    }),
    foreign(&["pools", "*", "runner"], &["labels"], labels),
];

/// YAML takes `22.04` for a number, of which `1.10` would lose its last digit.
fn labels(value: &mut Node) -> Means {
    let Value::List(items) = &mut value.value else { return Means::Ours };
    let mut read = None;
    for item in items {
        let (Value::Float(_) | Value::Unsigned(_) | Value::Signed(_), Some(plain)) =
            (&item.value, &item.plain)
        else {
            continue;
        };
        read.get_or_insert_with(|| (item.span.clone(), plain.clone()));
        item.value = Value::Text(plain.clone());
    }
    read.map_or(Means::Ours, |(at, text)| Means::Read {
        at,
        what: format!("the number {text} is read as the label '{text}'"),
        help: format!("write it in quotes: \"{text}\""),
    })
}

/// What such a file leaves out has their value, where ours is another and theirs does no harm.
pub(super) fn defaults(root: &mut Node, first: Range<usize>, ids: &mut Ids, notes: &mut Notes) {
    let metrics = MetricsConfig::USUAL;
    let taken = root.get("bind_address").and_then(Node::text);
    let taken = taken.and_then(|text| ListenAddress::try_from(text.to_owned()).ok());
    if root.get("metrics").is_some_and(Node::is_given) || taken.is_some_and(|taken| overlap(taken.0, metrics))
    {
        return;
    }
    let id = root.id;
    let Value::Map(entries) = &mut root.value else { return };
    entries.retain(|entry| entry.key != "metrics");
    entries.extend(section::lines("metrics: {enabled: true}", &first, ids));
    let message = format!(
        "metrics are served at {metrics}; the program whose file this is serves them by default, too, but at every address"
    );
    let help = format!(
        "write 'metrics: {{enabled: true}}' to keep it so, 'metrics: {{enabled: true, address: \":{}\"}}' for a scraper on another \
         host, or 'metrics: {{enabled: false}}'",
        metrics.port()
    );
    let problem = Problem::new(first, message).help(help).without_rest();
    let comment = "The program whose file this was serves metrics by default, at every address".to_owned();
    let before = Some("metrics".to_owned());
    notes.all.push(Note { section: id, before, comment, severity: Severity::Warning(problem) });
}
