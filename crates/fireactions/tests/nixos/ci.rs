//! The project's own CI: its workflows run the tests as everybody runs them.

use std::fs;

use serde_json::Value;

use crate::nix::repository;

/// The commands of all steps of a workflow.
fn commands(workflow: &Value) -> Vec<String> {
    let jobs = workflow["jobs"].as_object().unwrap();
    let steps = jobs.values().flat_map(|job| {
        assert!(job["runs-on"].is_string() && job["timeout-minutes"].is_u64(), "{job}");
        job["steps"].as_array().unwrap()
    });
    steps.filter_map(|step| step["run"].as_str().map(str::to_owned)).collect()
}

#[test]
fn workflows_run_make_test_and_the_flake_s_checks() {
    for dir in [".github/workflows", ".gitea/workflows"] {
        let mut all = Vec::new();
        for entry in fs::read_dir(repository().join(dir)).unwrap().map(Result::unwrap) {
            let text = fs::read_to_string(entry.path()).unwrap();
            let workflow: Value = serde_saphyr::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()));
            all.extend(commands(&workflow));
        }
        assert!(all.iter().any(|run| run.trim() == ".ci/run"), "{dir}: {all:?}");
        assert!(all.iter().any(|run| run.contains(" flake check ")), "{dir}: {all:?}");
    }
    let run = fs::read_to_string(repository().join(".ci/run")).unwrap();
    assert!(run.trim_end().ends_with("exec make test"), "{run}");
}
