//! What a server could leave behind: looked at before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Everything of interest in this network namespace and on this host.
pub(crate) struct World(BTreeSet<String>);

impl World {
    pub(crate) fn look(state: &Path) -> Self {
        let mut things = BTreeSet::new();
        let state_text = state.display().to_string();
        // The demo has a network namespace of its own, so every process in it is the demo's.
        let namespace = fs::read_link("/proc/self/ns/net").ok();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let inside = fs::read_link(entry.path().join("ns/net")).ok() == namespace;
            if inside && name.bytes().all(|b| b.is_ascii_digit()) && name != std::process::id().to_string() {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                things
                    .insert(format!("process {name}: {}", String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        for line in output("ip", &["-o", "link"]).lines() {
            if let Some(name) = line.split(": ").nth(1) {
                things.insert(format!("network device {name}"));
            }
        }
        for line in output("nft", &["list", "tables"]).lines() {
            things.insert(format!("nft {line}"));
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for line in mounts.lines().filter(|line| line.contains(&state_text)) {
            things.insert(format!("mount {line}"));
        }
        for root in
            mounts.lines().filter(|line| line.split(' ').nth(2).is_some_and(|t| t.starts_with("cgroup")))
        {
            let root = Path::new(root.split(' ').nth(1).unwrap_or_default());
            for entry in fs::read_dir(root.join("fireactions-demo")).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    things.insert(format!("cgroup {}", entry.path().display()));
                }
            }
        }
        for entry in fs::read_dir(state.join("run")).into_iter().flatten().flatten() {
            things.insert(format!("machine directory {}", entry.path().display()));
        }
        Self(things)
    }

    /// What is in `after` and was not here.
    pub(crate) fn left_behind(&self, after: &Self) -> Vec<String> {
        after.0.difference(&self.0).cloned().collect()
    }
}

fn output(program: &str, args: &[&str]) -> String {
    match Command::new(program).args(args).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        // Not being able to look must not pass for nothing to see.
        Err(error) => format!("0: {program} cannot be run: {error}"),
    }
}
