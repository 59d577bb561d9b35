//! The one job of a task's workflow.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, Deserialize)]
struct Workflow {
    #[serde(default)]
    env: Map<String, Value>,
    #[serde(default)]
    defaults: Defaults,
    jobs: BTreeMap<String, Job>,
}

/// A job, with what its workflow says for all jobs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Job {
    pub(crate) env: Map<String, Value>,
    pub(crate) defaults: Defaults,
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) strategy: Strategy,
    #[serde(rename = "timeout-minutes")]
    pub(crate) timeout_minutes: Option<f64>,
}

/// `defaults:`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Defaults {
    pub(crate) run: Run,
}

/// How commands run where a step does not say it.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    pub(crate) shell: Option<String>,
    #[serde(rename = "working-directory")]
    pub(crate) directory: Option<String>,
}

/// `strategy:`. The server has picked one combination already: each list has one value.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Strategy {
    matrix: Map<String, Value>,
}

impl Strategy {
    /// The combination, as expressions see it.
    pub(crate) fn matrix(&self) -> Value {
        let picked = |value: &Value| match value {
            Value::Array(values) => values.first().cloned().unwrap_or_default(),
            other => other.clone(),
        };
        self.matrix.iter().map(|(name, value)| (name.clone(), picked(value))).collect::<Map<_, _>>().into()
    }
}

/// A step.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) name: String,
    /// An expression, with or without `${{ }}`; YAML may make a bool of it.
    #[serde(rename = "if")]
    pub(crate) condition: Value,
    pub(crate) run: String,
    pub(crate) uses: String,
    pub(crate) env: Map<String, Value>,
    pub(crate) shell: Option<String>,
    #[serde(rename = "working-directory")]
    pub(crate) directory: Option<String>,
    #[serde(rename = "continue-on-error")]
    pub(crate) goes_on: Value,
    #[serde(rename = "timeout-minutes")]
    pub(crate) timeout_minutes: Option<f64>,
}

impl Step {
    /// As logs have it: the name, else the command's first line.
    pub(crate) fn title(&self) -> &str {
        let command = if self.run.is_empty() { &self.uses } else { &self.run };
        let title = if self.name.is_empty() { command } else { &self.name };
        title.trim().lines().next().unwrap_or_default()
    }
}

impl Job {
    /// Reads a task's payload: base64 of YAML.
    pub(crate) fn of(payload: &str) -> Result<Self, String> {
        let bytes =
            STANDARD.decode(payload).map_err(|error| format!("the workflow is no base64: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|error| format!("the workflow is no text: {error}"))?;
        let mut workflow: Workflow =
            serde_saphyr::from_str(&text).map_err(|error| format!("the workflow cannot be read: {error}"))?;
        let Some((_, mut job)) = workflow.jobs.pop_first().filter(|_| workflow.jobs.is_empty()) else {
            return Err("the workflow has not one job".to_owned());
        };
        for (name, value) in workflow.env {
            job.env.entry(name).or_insert(value);
        }
        let (of_all, run) = (workflow.defaults.run, &mut job.defaults.run);
        run.shell = run.shell.take().or(of_all.shell);
        run.directory = run.directory.take().or(of_all.directory);
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_of_a_real_server_is_read() {
        let text = "name: ci\n\"on\": push\nenv:\n    A: 1\ndefaults:\n    run:\n        shell: sh\njobs:\n    build:\n        \
                    name: build (1)\n        runs-on: ubuntu-24.04\n        strategy:\n            matrix:\n                n:\n                    \
                    - 1\n        env:\n            B: two\n        steps:\n            - name: hello\n              run: echo hello world\n            \
                    - run: |\n                env | sort\n                exit 3\n              if: failure()\n              continue-on-error: true\n";
        let job = Job::of(&STANDARD.encode(text)).unwrap();
        assert_eq!(Value::from(job.env), json!({"A": 1, "B": "two"}));
        assert_eq!(job.defaults.run.shell.as_deref(), Some("sh"));
        assert_eq!(job.strategy.matrix(), json!({"n": 1}));
        let titles: Vec<&str> = job.steps.iter().map(Step::title).collect();
        assert_eq!(titles, ["hello", "env | sort"]);
        assert_eq!(job.steps[1].condition, "failure()");
        assert_eq!(job.steps[1].goes_on, true);
        assert_eq!(Job::of(&STANDARD.encode("jobs: {}")).unwrap_err(), "the workflow has not one job");
    }
}
