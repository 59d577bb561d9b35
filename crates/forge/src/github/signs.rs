//! What GitHub's runner says of itself.

use super::program::HOOK;
use crate::hosted::signs::{Begun, Sign};

/// The runner writes `2024-01-02 03:04:05Z: Listening for Jobs`, `…: Running job: NAME`, `…: Job NAME completed with
/// result: Succeeded` (actions/runner, `src/Runner.Listener`).
pub(super) fn read(line: &str) -> Option<Sign> {
    if let Some(hook) = line.strip_prefix(HOOK) {
        return match hook.split(' ').next() {
            Some("started") => Some(Sign::Began(Begun::default())),
            Some("completed") => Some(Sign::Ended(None)),
            _ => None,
        };
    }
    let (time, said) = line.split_once("Z: ")?;
    if time.len() > 30 || !time.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if said == "Listening for Jobs" {
        return Some(Sign::Online);
    }
    if let Some(name) = said.strip_prefix("Running job: ") {
        return Some(Sign::Began(Begun { name: Some(name.to_owned()), ..Begun::default() }));
    }
    let (_, result) = said.strip_prefix("Job ")?.rsplit_once(" completed with result: ")?;
    let conclusion = match result {
        "Succeeded" | "SucceededWithIssues" => "success",
        "Failed" => "failure",
        "Canceled" => "cancelled",
        "Skipped" => "skipped",
        "Abandoned" => "abandoned",
        _ => return Some(Sign::Ended(None)),
    };
    Some(Sign::Ended(Some(conclusion.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "√ Connected to GitHub\n\n2026-01-02 03:04:05Z: Listening for Jobs\n\
        2026-01-02 03:04:06Z: Running job: build (1, x: y)\nfireactions hook: started run=7\nwork\n\
        fireactions hook: completed run=7\n2026-01-02 03:04:09Z: Job build (1, x: y) completed with result: Failed\n";

    fn expected() -> Vec<Sign> {
        vec![
            Sign::Online,
            Sign::Began(Begun { name: Some("build (1, x: y)".to_owned()), ..Begun::default() }),
            Sign::Began(Begun::default()),
            Sign::Ended(None),
            Sign::Ended(Some("failure".to_owned())),
        ]
    }

    #[test]
    fn what_the_runner_says_of_itself_is_read() {
        assert_eq!(LOG.lines().filter_map(read).collect::<Vec<_>>(), expected());
    }

    #[test]
    fn what_only_looks_like_a_sign_is_none() {
        for line in [
            "Running job: x",
            "it said: 2026-01-02 03:04:06Z: Running job: x",
            "fireactions hook: other",
            ": Z: ",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
