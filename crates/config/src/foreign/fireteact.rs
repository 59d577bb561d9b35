//! The keys of fireteact's files, and which of ours they are.

use super::{Foreign, Ids, Means, Notes, Refused, foreign, section};
use crate::tree::{Entry, Node, Value};

const TOKEN: Refused = Refused {
    why: "secrets do not belong in this file",
    line: "api_token_file: /etc/fireactions/gitea-token",
    todo: "put the access token there, with mode 0600 (or name another file, or credential:NAME of systemd)",
};

macro_rules! renamed {
    ($section:expr, $from:expr => $to:expr) => {
        foreign($section, $from, |_| Means::Renamed($to))
    };
}

const POOL: &[&str] = &["pools", "*"];

pub(super) const KEYS: &[Foreign] = &[
    renamed!(&[], &["server", "address"] => &["bind_address"]),
    renamed!(&[], &["server", "metricsAddress"] => &["metrics", "address"]),
    renamed!(&[], &["logLevel"] => &["log_level"]),
    renamed!(&["gitea"], &["instanceURL"] => &["url"]),
    renamed!(&["gitea"], &["apiTokenFile"] => &["api_token_file"]),
    foreign(&["gitea"], &["apiToken"], |_| Means::Refused(&TOKEN)),
    foreign(&[], &["containerd"], |_| {
        Means::Unused("the server gets and converts images itself, without containerd", "remove it")
    }),
    foreign(&[], &["cni"], |_| {
        Means::Unused("the server makes the machines' network itself, without CNI", "remove it")
    }),
    renamed!(POOL, &["maxRunners"] => &["max_runners"]),
    renamed!(POOL, &["minRunners"] => &["min_runners"]),
    renamed!(POOL, &["runner", "imagePullPolicy"] => &["runner", "image_pull_policy"]),
    renamed!(POOL, &["firecracker", "binaryPath"] => &["firecracker", "binary_path"]),
    renamed!(POOL, &["firecracker", "kernelPath"] => &["firecracker", "kernel_image_path"]),
    renamed!(POOL, &["firecracker", "kernelArgs"] => &["firecracker", "kernel_args"]),
    renamed!(POOL, &["firecracker", "memSizeMib"] => &["firecracker", "machine_config", "mem_size_mib"]),
    renamed!(POOL, &["firecracker", "vcpuCount"] => &["firecracker", "machine_config", "vcpu_count"]),
];

/// What says once for all pools whose runners they are says it in each pool here.
pub(super) fn scope(root: &mut Node, ids: &mut Ids, notes: &mut Notes) {
    let mut taken = Vec::new();
    if let Some(Node { value: Value::Map(entries), .. }) = section::at_mut(root, &["gitea"]) {
        entries.retain_mut(|entry| {
            let ours = matches!(entry.key.as_str(), "runnerScope" | "runnerOwner" | "runnerRepo");
            if ours {
                taken.push(entry.clone());
            }
            !ours
        });
    }
    // `server:` is empty now, or has what nothing here has a use for.
    if let Value::Map(entries) = &mut root.value {
        entries.retain(|entry| {
            !(entry.key == "server" && matches!(&entry.value.value, Value::Map(rest) if rest.is_empty()))
        });
    }
    let Some(at) = taken.first().map(|entry| entry.key_span.clone()) else { return };
    let text = |key: &str| -> Option<String> {
        taken.iter().find(|entry| entry.key == key)?.value.text().map(str::to_owned)
    };
    let owner = text("runnerOwner").unwrap_or_else(|| "@OWNER@".to_owned());
    let (key, value) = match text("runnerScope").as_deref() {
        Some("org") => ("organization", owner),
        Some("repo") => {
            let name = text("runnerRepo").unwrap_or_else(|| "@REPOSITORY@".to_owned());
            ("repository", format!("{owner}/{name}"))
        }
        _ => ("scope", "instance".to_owned()),
    };
    section::each(root, &["pools", "*"], "", &mut |pool, _| {
        let mut entry: Vec<Entry> = section::lines(&format!("{key}: x"), &at, ids);
        let Some(mut entry) = entry.pop() else { return };
        entry.value.value = Value::Text(value.clone());
        section::put(pool, &["runner", key], entry, ids);
        if let Some(runner) = pool.get("runner") {
            notes.comment(runner.id, Some(key), "Of gitea.runnerScope, runnerOwner and runnerRepo");
        }
    });
}
