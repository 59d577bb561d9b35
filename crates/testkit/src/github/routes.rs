//! The routes by name, and how often each was called.

use std::collections::BTreeMap;

/// Paths whose answers the description knows nothing about, and those of the other services.
const OTHERS: [&str; 24] = [
    "/actions/runner-registration",
    "/installation/repositories",
    "/installation/token",
    "/orgs/{org}/repos",
    "/repos/{owner}/{repo}",
    "/repos/{owner}/{repo}/actions/runs/{run_id}",
    "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories",
    "/_actions/_apis/runtime/runnergroups/",
    "/_actions/_apis/runtime/runnerscalesets",
    "/_actions/_apis/runtime/runnerscalesets/{id}",
    "/_actions/_apis/runtime/runnerscalesets/{id}/sessions",
    "/_actions/_apis/runtime/runnerscalesets/{id}/sessions/{session}",
    "/_actions/_apis/runtime/runnerscalesets/{id}/acquirejobs",
    "/_actions/_apis/runtime/runnerscalesets/{id}/generatejitconfig",
    "/_actions/_apis/distributedtask/pools/0/agents",
    "/_actions/_apis/distributedtask/pools/0/agents/{id}",
    "/_actions/_message/{id}",
    "/_actions/_message/{id}/{message}",
    "/_runner/online",
    "/_runner/wait",
    "/_runner/script",
    "/_runner/alive",
    "/_runner/log",
    "/_runner/completed",
];

/// Routes of the description that the fake answers.
const DESCRIBED: [&str; 33] = [
    "/app",
    "/app/installations",
    "/app/installations/{installation_id}",
    "/app/installations/{installation_id}/access_tokens",
    "/rate_limit",
    "/orgs/{org}/installation",
    "/orgs/{org}/actions/runner-groups",
    "/orgs/{org}/actions/runner-groups/{runner_group_id}",
    "/orgs/{org}/actions/runners",
    "/orgs/{org}/actions/runners/generate-jitconfig",
    "/orgs/{org}/actions/runners/registration-token",
    "/orgs/{org}/actions/runners/remove-token",
    "/orgs/{org}/actions/runners/{runner_id}",
    "/orgs/{org}/actions/runners/{runner_id}/labels",
    "/repos/{owner}/{repo}/installation",
    "/repos/{owner}/{repo}/actions/runs",
    "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs",
    "/repos/{owner}/{repo}/actions/jobs/{job_id}",
    "/repos/{owner}/{repo}/actions/runners",
    "/repos/{owner}/{repo}/actions/runners/generate-jitconfig",
    "/repos/{owner}/{repo}/actions/runners/registration-token",
    "/repos/{owner}/{repo}/actions/runners/remove-token",
    "/repos/{owner}/{repo}/actions/runners/{runner_id}",
    "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels",
    "/enterprises/{enterprise}/installation",
    "/enterprises/{enterprise}/actions/runner-groups",
    "/enterprises/{enterprise}/actions/runner-groups/{runner_group_id}",
    "/enterprises/{enterprise}/actions/runners",
    "/enterprises/{enterprise}/actions/runners/generate-jitconfig",
    "/enterprises/{enterprise}/actions/runners/registration-token",
    "/enterprises/{enterprise}/actions/runners/remove-token",
    "/enterprises/{enterprise}/actions/runners/{runner_id}",
    "/enterprises/{enterprise}/actions/runners/{runner_id}/labels",
];

/// The name of the route that a path takes; the path itself when there is none.
pub(super) fn name(path: &str) -> String {
    let all = DESCRIBED.iter().chain(&OTHERS).filter(|template| crate::spec::fits(template, path));
    all.min_by_key(|template| template.matches('{').count())
        .map_or_else(|| path.to_owned(), |template| (*template).to_owned())
}

/// Whether the description is known to lack it.
pub(super) fn is_undescribed(path: &str) -> bool {
    OTHERS.contains(&name(path).as_str())
}

/// Requests that came, those that a fault answered included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// All of them.
    pub total: u64,
    /// By method and route, such as `GET /orgs/{org}/actions/runners`.
    pub by_route: BTreeMap<String, u64>,
}

impl Calls {
    pub(super) fn count(&mut self, method: &str, path: &str) {
        self.total += 1;
        *self.by_route.entry(format!("{method} {}", name(path))).or_default() += 1;
    }

    /// How often a route was called; none is zero.
    pub fn of(&self, route: &str) -> u64 {
        self.by_route.get(route).copied().unwrap_or(0)
    }

    /// Calls of the REST API, which count against its limits.
    pub fn rest(&self) -> u64 {
        let rest = self.by_route.iter().filter(|(route, _)| !route.contains(" /_"));
        rest.map(|(_, count)| count).sum()
    }
}
