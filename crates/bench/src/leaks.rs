//! What a server could leave behind: looked at before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Everything of interest in this network namespace and on this host, by kind.
pub struct World(BTreeMap<&'static str, BTreeSet<String>>);

impl World {
    /// `cgroup` is the configured parent of the machines' cgroups.
    pub fn look(state: &Path, cgroup: &str) -> Self {
        Self(BTreeMap::from([
            ("processes", processes(cgroup)),
            (
                "network devices",
                lines("ip", &["-o", "link"], |line| Some(line.split(": ").nth(1)?.to_owned())),
            ),
            ("nft chains, maps and rules", rules()),
            ("mounts", mounts(state)),
            (
                "cgroups",
                fireactions_leftovers::below(cgroup).iter().map(|path| path.display().to_string()).collect(),
            ),
            ("files in run/", files(&state.join("run"))),
            ("files in uploads/", files(&state.join("uploads"))),
        ]))
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.0.iter().map(|(kind, things)| (*kind, things.len())).collect()
    }

    /// What is in `after` and was not here.
    pub fn left_behind(&self, after: &Self) -> Vec<String> {
        self.left_behind_but(after, &[])
    }

    /// The same, but for some kinds.
    pub fn left_behind_but(&self, after: &Self, ignored: &[&str]) -> Vec<String> {
        let mut left = Vec::new();
        for (kind, things) in after.0.iter().filter(|(kind, _)| !ignored.contains(*kind)) {
            let before = self.0.get(kind);
            let new = things.iter().filter(|thing| !before.is_some_and(|before| before.contains(*thing)));
            left.extend(new.map(|thing| format!("{kind}: {thing}")));
        }
        left
    }
}

/// Whoever looks has a network namespace of its own, so every process in it is the server's. VMMs have namespaces of their
/// own, and are in their machines' cgroups.
fn processes(cgroup: &str) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = fireactions_leftovers::processes(cgroup)
        .into_iter()
        .map(|(pid, line)| format!("{pid}: {line}"))
        .collect();
    let namespace = fs::read_link("/proc/self/ns/net").ok();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let inside = fs::read_link(entry.path().join("ns/net")).ok() == namespace;
        if inside && name.bytes().all(|b| b.is_ascii_digit()) && name != std::process::id().to_string() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.insert(format!("{name}: {}", String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

/// Every rule, element and chain with its number in its table: equal texts are different things.
fn rules() -> BTreeSet<String> {
    let output = match Command::new("nft").args(["list", "ruleset"]).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => format!("nft cannot be run: {error}"),
    };
    let (mut table, mut chain) = (String::new(), String::new());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in output.lines().map(str::trim).filter(|line| !matches!(*line, "" | "}")) {
        if line.starts_with("table ") {
            line.clone_into(&mut table);
            chain.clear();
        } else if line.ends_with('{') && !line.contains('=') {
            line.clone_into(&mut chain);
        }
        *seen.entry(format!("{table} {chain} {line}")).or_default() += 1;
    }
    seen.into_iter().flat_map(|(line, times)| (0..times).map(move |n| format!("{line} #{n}"))).collect()
}

fn mounts(state: &Path) -> BTreeSet<String> {
    let state = state.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().filter(|line| line.contains(&state)).map(str::to_owned).collect()
}

/// Everything below a directory.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.append(&mut files(&entry.path()));
        }
    }
    found
}

fn lines(program: &str, args: &[&str], take: impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
    match Command::new(program).args(args).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().filter_map(take).collect(),
        // Not being able to look must not pass for nothing to see.
        Err(error) => BTreeSet::from([format!("{program} cannot be run: {error}")]),
    }
}
