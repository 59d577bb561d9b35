//! Whether a submitted job can be. The spec comes from a user: every length and number is judged before it
//! reaches disk or guest.

use std::collections::HashSet;

use fireactions_model::{JobSpec, Program};

use super::{Limits, Problem};

/// The kernel takes no longer single argument or variable (`MAX_ARG_STRLEN`, its terminating NUL included).
const LONGEST_ARGUMENT: usize = 128 * 1024 - 1;
/// `PATH_MAX`, its terminating NUL included.
const LONGEST_PATH: usize = 4095;
const MOST_LABELS: usize = 32;
const MOST_VARIABLES: usize = 1000;
const MOST_ARGUMENTS: usize = 10_000;

struct Findings(Vec<Problem>);

impl Findings {
    fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(Problem { field: field.into(), why: why.into() });
    }

    fn range(&mut self, field: &str, value: Option<u64>, least: u64, most: u64, unit: &str) {
        if let Some(value) = value
            && !(least..=most).contains(&value)
        {
            self.add(field, format!("{value} is out of range, use {least} to {most}{unit}"));
        }
    }

    fn most(&mut self, field: &str, count: usize, most: usize) -> bool {
        if count > most {
            self.add(field, format!("{count} are too many, at most {most} are taken"));
        }
        count <= most
    }

    fn text(&mut self, field: &str, text: &str, longest: usize) {
        if text.len() > longest {
            self.add(field, format!("it has {} bytes, at most {longest} are taken", text.len()));
        } else if text.contains('\0') {
            self.add(field, "it holds a NUL byte, which no program can be given");
        }
    }

    fn path(&mut self, field: &str, path: &str) {
        self.text(field, path, LONGEST_PATH);
        if !path.starts_with('/') {
            self.add(field, format!("'{}' is not an absolute path", shown(path)));
        } else if path.split('/').any(|part| part == "..") {
            self.add(field, format!("'{}' holds '..'; give the path without it", shown(path)));
        }
    }

    /// A short text for people or a name: no control characters at all.
    fn name(&mut self, field: &str, text: Option<&String>, longest: usize) {
        let Some(text) = text else { return };
        if text.is_empty() || text.len() > longest || text.chars().any(char::is_control) {
            self.add(field, format!("use 1 to {longest} bytes without control characters"));
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// All problems of a job, or none.
pub(super) fn validate(spec: &JobSpec, limits: &Limits) -> Result<(), Vec<Problem>> {
    let mut found = Findings(Vec::new());
    found.name("name", spec.name.as_ref(), 128);
    found.name("user", spec.user.as_ref(), 128);
    if let Some(workdir) = &spec.workdir {
        found.path("workdir", workdir);
    }
    found.range("vcpus", spec.vcpus.map(u64::from), 1, limits.vcpus.into(), "");
    found.range("memory_mib", spec.memory_mib.map(u64::from), 64, limits.memory_mib.into(), " MiB");
    found.range("disk_mib", spec.disk_mib.map(u64::from), 16, limits.disk_mib.into(), " MiB");
    found.range("timeout_secs", spec.timeout_secs, 1, limits.timeout_secs, " seconds");
    found.most("labels", spec.labels.len(), MOST_LABELS);
    program(spec, limits, &mut found);
    files(spec, limits, &mut found);
    if found.most("artifacts", spec.artifacts.len(), limits.artifacts) {
        for (n, path) in spec.artifacts.iter().enumerate() {
            found.path(&format!("artifacts[{n}]"), path);
        }
    }
    if found.0.is_empty() { Ok(()) } else { Err(found.0) }
}

fn program(spec: &JobSpec, limits: &Limits, found: &mut Findings) {
    let (field, arguments) = match &spec.program {
        Program::Image { args } => ("program.image.args", args.as_slice()),
        Program::Command { argv } => {
            if argv.first().is_none_or(String::is_empty) {
                found.add("program.command.argv", "it is empty; name a program to run");
            }
            ("program.command.argv", argv.as_slice())
        }
        Program::Script { text } => {
            if text.trim().is_empty() {
                found.add("program.script.text", "it is empty");
            }
            // The shell gets it as one argument.
            ("program.script.text", std::slice::from_ref(text))
        }
    };
    let mut bytes = 0;
    if found.most(field, arguments.len(), MOST_ARGUMENTS) {
        for argument in arguments {
            found.text(field, argument, LONGEST_ARGUMENT);
            bytes += argument.len();
        }
    }
    if found.most("env", spec.env.len(), MOST_VARIABLES) {
        for (n, (key, value)) in spec.env.iter().enumerate() {
            let field = format!("env[{n}]");
            if key.is_empty() || key.contains('=') || key.chars().any(char::is_control) {
                found.add(&field, format!("'{}' is not a variable name", shown(key)));
            }
            found.text(&field, value, LONGEST_ARGUMENT - key.len().min(LONGEST_ARGUMENT));
            bytes += key.len() + value.len();
        }
    }
    if bytes > limits.program_bytes {
        let most = limits.program_bytes;
        found.add(
            "program",
            format!(
                "program and environment have {bytes} bytes, at most {most} are taken; bring files instead"
            ),
        );
    }
}

fn files(spec: &JobSpec, limits: &Limits, found: &mut Findings) {
    if !found.most("files", spec.files.len(), limits.files) {
        return;
    }
    let mut seen = HashSet::new();
    let mut bytes: u64 = 0;
    for (n, file) in spec.files.iter().enumerate() {
        let field = format!("files[{n}].dest");
        found.path(&field, &file.dest);
        if file.dest.ends_with('/') {
            found.add(&field, format!("'{}' names a directory, not a file", shown(&file.dest)));
        }
        if !seen.insert(file.dest.as_str()) {
            found.add(&field, format!("'{}' is there twice", shown(&file.dest)));
        }
        if file.mode & !0o7777 != 0 {
            found.add(format!("files[{n}].mode"), format!("{:#o} has more than permission bits", file.mode));
        }
        bytes = bytes.saturating_add(file.size);
    }
    if bytes > limits.input_bytes {
        let most = limits.input_bytes;
        found.add("files", format!("they have {bytes} bytes together, at most {most} are taken"));
    }
}
