//! A job's steps, one after the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::VERSION;
use crate::expression::{self, Scope};
use crate::report::Report;
use crate::shell::{self, Ended};
use crate::variables::{self, Files, Variables};
use crate::wire::{Task, Verdict};
use crate::workflow::{Job, Step};

/// What a job without `timeout-minutes` may take at most.
const LONGEST: Duration = Duration::from_secs(3 * 60 * 60);

/// How a job ended, and its outputs.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) outputs: BTreeMap<String, String>,
}

/// A job that runs.
struct Running<'a> {
    job: &'a Job,
    report: &'a Report,
    stop: &'a dyn Fn() -> bool,
    deadline: Instant,
    /// Files of the runner, outside of the workspace.
    directory: PathBuf,
    workspace: PathBuf,
    variables: Variables,
    scope: Scope,
}

/// Runs a job in a directory of its own, with the runner's variables. `stop` is asked whether it is to end early.
pub(crate) fn run(
    task: &Task,
    job: &Job,
    (directory, envs): (&Path, &BTreeMap<String, String>),
    report: &Report,
    stop: &dyn Fn() -> bool,
) -> Result<Outcome, String> {
    let (workspace, event) = (directory.join("hostexecutor"), directory.join("act/workflow/event.json"));
    let written = fs::create_dir_all(&workspace)
        .and_then(|()| fs::create_dir_all(directory.join("act/workflow")))
        .and_then(|()| fs::write(&event, task.context.get("event").unwrap_or(&Value::Null).to_string()));
    written.map_err(|error| format!("{}: {error}", directory.display()))?;
    let needs = task
        .needs
        .iter()
        .map(|(name, need)| (name.clone(), json!({"result": need.result.name(), "outputs": need.outputs})));
    let contexts = json!({
        "github": task.context,
        "secrets": task.secrets,
        "vars": task.vars,
        "needs": needs.collect::<Map<_, _>>(),
        "matrix": job.strategy.matrix(),
        "runner": {"os": "Linux"},
        "env": {},
        "steps": {},
    });
    let Value::Object(contexts) = contexts else { return Err("contexts are no object".to_owned()) };
    let mut variables = variables::of_job(&task.context, &workspace, &event, VERSION);
    variables.extend(envs.clone());
    let mut running = Running {
        job,
        report,
        stop,
        deadline: Instant::now() + minutes(job.timeout_minutes).unwrap_or(LONGEST),
        directory: directory.join("act/workflow"),
        variables,
        workspace,
        scope: Scope { contexts, ..Scope::default() },
    };
    report.began();
    for (number, step) in job.steps.iter().enumerate() {
        running.step(number, step);
    }
    let mut outputs = BTreeMap::new();
    for (name, text) in &job.outputs {
        outputs.insert(name.clone(), expression::filled(text, &running.scope)?);
    }
    let verdict = match &running.scope {
        Scope { cancelled: true, .. } => Verdict::Cancelled,
        Scope { failed: true, .. } => Verdict::Failure,
        Scope { .. } => Verdict::Success,
    };
    Ok(Outcome { verdict, outputs })
}

fn minutes(given: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(given? * 60.0).ok()
}

impl Running<'_> {
    fn step(&mut self, number: usize, step: &Step) {
        self.report.step_began();
        self.scope.cancelled |= (self.stop)();
        let tried = match expression::holds(&step.condition, &self.scope) {
            Ok(false) => Ok(Verdict::Skipped),
            Ok(true) => self.command(number, step),
            Err(error) => Err(error),
        };
        let outcome = tried.unwrap_or_else(|error| {
            self.report.row(&error);
            Verdict::Failure
        });
        let title = step.title();
        match outcome {
            Verdict::Success => self.report.row(&format!("  ✅  Success - Main {title}")),
            Verdict::Failure => self.report.row(&format!("  ❌  Failure - Main {title}")),
            _ => {}
        }
        let goes_on = expression::filled(&text(&step.goes_on), &self.scope).is_ok_and(|text| text == "true");
        self.scope.failed |= outcome == Verdict::Failure && !goes_on;
        let conclusion = if outcome == Verdict::Failure && goes_on { Verdict::Success } else { outcome };
        if !step.id.is_empty() {
            let known = &mut self.scope.contexts["steps"][&step.id];
            known["outcome"] = outcome.name().into();
            known["conclusion"] = conclusion.name().into();
        }
        self.report.step_ended(conclusion);
    }

    fn command(&mut self, number: usize, step: &Step) -> Result<Verdict, String> {
        self.report.row(&format!("⭐ Run Main {}", step.title()));
        if step.run.is_empty() {
            return Err(format!("'{}' is an action, and this runner runs `run:` steps alone", step.uses));
        }
        let mut env = self.variables.clone();
        for given in [&self.job.env, &step.env] {
            for (name, value) in given {
                env.insert(name.clone(), expression::filled(&text(value), &self.scope)?);
            }
            self.scope.contexts.insert("env".to_owned(), json!(env));
        }
        let files = Files::new(self.directory.join(number.to_string()))?;
        env.extend(files.named());
        let script = self.directory.join(format!("{number}.sh"));
        fs::write(&script, expression::filled(&step.run, &self.scope)? + "\n")
            .map_err(|error| format!("{}: {error}", script.display()))?;
        let shell = step.shell.as_deref().or(self.job.defaults.run.shell.as_deref());
        let mut command = interpreter(shell.unwrap_or_default(), &script, env.get("PATH"))?;
        let directory = step.directory.as_deref().or(self.job.defaults.run.directory.as_deref());
        let directory = expression::filled(directory.unwrap_or_default(), &self.scope)?;
        command.envs(&env).current_dir(self.workspace.join(directory));
        let deadline = minutes(step.timeout_minutes).map(|time| Instant::now() + time);
        let deadline = deadline.map_or(self.deadline, |deadline| deadline.min(self.deadline));
        // What begins after the job was ended is to run: it said so in its condition.
        let (ended_before, stop, report) = (self.scope.cancelled, self.stop, self.report);
        let ended = shell::run(command, Some(deadline), &|| !ended_before && stop(), &mut |line| {
            if let Some(secret) = line.strip_prefix("::add-mask::") {
                report.hide(secret);
            }
            report.row(line);
        })?;
        self.heard(step, &files)?;
        match ended {
            Ended::Exit(0) => Ok(Verdict::Success),
            Ended::Exit(code) => {
                self.report.row(&format!("exitcode '{code}': failure"));
                Ok(Verdict::Failure)
            }
            Ended::TimedOut => Err("the time of this step or of its job is over".to_owned()),
            Ended::Stopped => {
                self.scope.cancelled = true;
                Ok(Verdict::Cancelled)
            }
        }
    }

    /// Takes what a step said in its files.
    fn heard(&mut self, step: &Step, files: &Files) -> Result<(), String> {
        let said = files.read()?;
        self.variables.extend(said.env);
        if !said.path.is_empty() {
            let before = self.variables.get("PATH").cloned();
            let before = before.or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
            self.variables.insert("PATH".to_owned(), format!("{}:{before}", said.path.join(":")));
        }
        if !step.id.is_empty() {
            self.scope.contexts["steps"][&step.id]["outputs"] = json!(said.outputs);
        }
        Ok(())
    }
}

/// A value of YAML as a variable has it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What runs a script: `bash` where there is one, else `sh`; a name; or words with `{0}` for the script.
fn interpreter(shell: &str, script: &Path, path: Option<&String>) -> Result<Command, String> {
    let path = path.cloned().or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    let words = match shell {
        "" if !there("bash") => "sh -e {0}",
        "" | "bash" => "bash --noprofile --norc -e -o pipefail {0}",
        "sh" => "sh -e {0}",
        "python" => "python {0}",
        other => other,
    };
    let script = script.to_string_lossy();
    let mut words = words.split_whitespace().map(|word| word.replace("{0}", &script));
    let program = words.next().filter(|_| shell.is_empty() || !shell.trim().is_empty());
    let mut command = Command::new(program.ok_or_else(|| format!("'{shell}' is no shell"))?);
    command.args(words);
    Ok(command)
}
