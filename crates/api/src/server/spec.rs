//! What a job's specification may hold. The types are checked already; here are the bounds.

use fireactions_model::{JobSpec, Program};

use crate::Fault;
use crate::engine::Result;

const MAX_FILES: usize = 4096;
const MAX_ARTIFACTS: usize = 64;
const MAX_ENV: usize = 1024;
const MAX_ARGS: usize = 4096;
const MAX_PATH: usize = 4095;

/// Refuses a specification that no machine could carry out.
pub(crate) fn check(spec: &JobSpec) -> Result<()> {
    program(&spec.program)?;
    within("environment variables", spec.env.len(), MAX_ENV)?;
    within("files", spec.files.len(), MAX_FILES)?;
    within("artifacts", spec.artifacts.len(), MAX_ARTIFACTS)?;
    within("labels", spec.labels.len(), 64)?;
    for (key, value) in &spec.env {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(
                Fault::invalid(format!("'{key}' is not a valid variable name")).hint("write NAME=VALUE")
            );
        }
        no_nul("the environment", value)?;
    }
    for path in spec.files.iter().map(|file| &file.dest).chain(&spec.artifacts) {
        guest_path(path)?;
    }
    if let Some(file) = spec.files.iter().find(|file| file.mode > 0o7777) {
        return Err(Fault::invalid(format!("{:o} is not a valid mode for {}", file.mode, file.dest)));
    }
    for (what, value) in [("name", &spec.name), ("user", &spec.user), ("workdir", &spec.workdir)] {
        let Some(value) = value else { continue };
        if value.is_empty() || value.len() > MAX_PATH || value.contains(char::is_control) {
            return Err(Fault::invalid(format!("the {what} is empty, too long or has control characters")));
        }
    }
    if spec.vcpus == Some(0) || spec.memory_mib == Some(0) || spec.disk_mib == Some(0) {
        return Err(Fault::invalid("vcpus, memory and disk cannot be 0")
            .hint("leave them out to use the pool's values"));
    }
    if spec.timeout_secs == Some(0) {
        return Err(Fault::invalid("the timeout cannot be 0").hint("leave it out to use the pool's value"));
    }
    Ok(())
}

fn program(program: &Program) -> Result<()> {
    match program {
        Program::Image { args } => arguments(args),
        Program::Command { argv } if argv.first().is_none_or(String::is_empty) => {
            Err(Fault::invalid("the command is empty").hint("name a program after `--`"))
        }
        Program::Command { argv } => arguments(argv),
        Program::Script { text } => no_nul("the script", text),
    }
}

fn arguments(args: &[String]) -> Result<()> {
    within("arguments", args.len(), MAX_ARGS)?;
    args.iter().try_for_each(|arg| no_nul("an argument", arg))
}

fn within(what: &str, count: usize, most: usize) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(Fault::invalid(format!("{count} {what} are more than the {most} that a job may have")))
}

fn no_nul(what: &str, text: &str) -> Result<()> {
    if text.contains('\0') { Err(Fault::invalid(format!("{what} holds a NUL byte"))) } else { Ok(()) }
}

fn guest_path(path: &str) -> Result<()> {
    let fine = path.starts_with('/')
        && path.len() <= MAX_PATH
        && !path.contains('\0')
        && !path.split('/').any(|part| part == "..");
    if fine {
        return Ok(());
    }
    let shown: String = path.chars().take(80).collect();
    Err(Fault::invalid(format!("'{shown}' is not a path in the guest"))
        .hint("use an absolute path without '..', at most 4095 bytes"))
}
