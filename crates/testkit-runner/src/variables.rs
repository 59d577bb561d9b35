//! The environment of steps: what they are told of the job, and what they say to the steps after them in files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Files that a step writes to, by the end of the variable's name.
const FILES: [&str; 5] = ["ENV", "OUTPUT", "PATH", "STATE", "STEP_SUMMARY"];
/// What of the context becomes `GITHUB_…`.
const TOLD: [&str; 17] = [
    "actor",
    "api_url",
    "base_ref",
    "event_name",
    "head_ref",
    "job",
    "ref",
    "ref_name",
    "ref_type",
    "repository",
    "repository_owner",
    "run_attempt",
    "run_id",
    "run_number",
    "server_url",
    "sha",
    "workflow",
];

/// Environment variables.
pub(crate) type Variables = BTreeMap<String, String>;

/// What every step of a job has.
pub(crate) fn of_job(context: &Value, workspace: &Path, event: &Path, version: &str) -> Variables {
    let text = |name: &str| context.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut all: Variables =
        TOLD.iter().map(|name| (format!("GITHUB_{}", name.to_uppercase()), text(name))).collect();
    let mut set = |name: &str, value: &str| all.insert(name.to_owned(), value.to_owned());
    for name in ["CI", "ACT", "GITHUB_ACTIONS", "GITEA_ACTIONS"] {
        set(name, "true");
    }
    set("GITEA_ACTIONS_RUNNER_VERSION", version);
    set("GITHUB_WORKSPACE", &workspace.to_string_lossy());
    set("GITHUB_EVENT_PATH", &event.to_string_lossy());
    set("RUNNER_OS", "Linux");
    set("RUNNER_ARCH", if cfg!(target_arch = "x86_64") { "X64" } else { "ARM64" });
    set("ACTIONS_RUNTIME_TOKEN", &text("gitea_runtime_token"));
    all
}

/// The files of one step.
pub(crate) struct Files {
    directory: PathBuf,
}

/// What a step said in its files.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// For the steps after it.
    pub(crate) env: Variables,
    pub(crate) outputs: BTreeMap<String, String>,
    /// Directories for the front of `PATH`, the last one first.
    pub(crate) path: Vec<String>,
}

impl Files {
    /// Makes them, empty, in a directory of their own.
    pub(crate) fn new(directory: PathBuf) -> Result<Self, String> {
        let made = fs::create_dir_all(&directory)
            .and_then(|()| FILES.iter().try_for_each(|name| fs::write(directory.join(name), "")));
        made.map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Self { directory })
    }

    /// The variables that name them.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, String)> + '_ {
        FILES.iter().flat_map(|name| {
            let path = self.directory.join(name).to_string_lossy().into_owned();
            ["GITHUB", "GITEA"].map(|of| (format!("{of}_{name}"), path.clone()))
        })
    }

    /// What is in them.
    pub(crate) fn read(&self) -> Result<Said, String> {
        let text = |name: &str| {
            let path = self.directory.join(name);
            fs::read(&path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|error| format!("{}: {error}", path.display()))
        };
        let mut path: Vec<String> = text("PATH")?.lines().map(str::to_owned).collect();
        path.reverse();
        Ok(Said { env: pairs(&text("ENV")?)?, outputs: pairs(&text("OUTPUT")?)?, path })
    }
}

/// `NAME=VALUE`, or `NAME<<END`, lines, `END`.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let (mut all, mut lines) = (BTreeMap::new(), text.lines());
    while let Some(line) = lines.next() {
        let equals = line.find('=').unwrap_or(usize::MAX);
        if let Some((name, end)) = line.split_once("<<").filter(|(name, _)| name.len() < equals) {
            let mut value = Vec::new();
            loop {
                match lines.next() {
                    Some(line) if line == end => break,
                    Some(line) => value.push(line),
                    None => return Err(format!("the value of '{name}' does not end with '{end}'")),
                }
            }
            all.insert(name.to_owned(), value.join("\n"));
        } else if let Some((name, value)) = line.split_once('=') {
            all.insert(name.to_owned(), value.to_owned());
        } else if !line.trim().is_empty() {
            return Err(format!("'{line}' is neither NAME=VALUE nor NAME<<END"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_line_and_of_several() {
        let all = pairs("A=1=2\nB<<EOF\nx\ny=z\nEOF\n\nC=a<<b\n").unwrap();
        let named = |name: &str| all[name].as_str();
        assert_eq!((named("A"), named("B"), named("C")), ("1=2", "x\ny=z", "a<<b"));
        assert!(pairs("A<<EOF\nx").is_err());
        assert!(pairs("nonsense").is_err());
    }
}
