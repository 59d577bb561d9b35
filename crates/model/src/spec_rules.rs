//! Whether a submitted job can be. The specification comes from a user: every length and number is judged before it
//! reaches disk or guest.

use std::collections::HashSet;
use std::fmt;

use crate::{FileKind, ImageSource, JobSpec, Program};

/// The kernel takes no longer single argument or variable (`MAX_ARG_STRLEN`, its terminating NUL included).
const LONGEST_ARGUMENT: usize = 128 * 1024 - 1;
/// `PATH_MAX`, its terminating NUL included.
const LONGEST_PATH: usize = 4095;
const MOST_LABELS: usize = 32;
const MOST_VARIABLES: usize = 1000;
const MOST_ARGUMENTS: usize = 10_000;

/// What a job may ask for at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecLimits {
    /// Bytes of all input files together.
    pub input_bytes: u64,
    /// Number of input files.
    pub files: usize,
    /// Number of artifacts.
    pub artifacts: usize,
    /// Bytes of program and environment together.
    pub program_bytes: usize,
    /// Virtual CPUs.
    pub vcpus: u8,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Scratch disk in MiB.
    pub disk_mib: u32,
    /// Seconds.
    pub timeout_secs: u64,
}

impl SpecLimits {
    /// The bounds that hold wherever a job goes, and none of those that whoever takes it sets.
    pub const WIDEST: Self = Self {
        input_bytes: u64::MAX,
        files: 4096,
        artifacts: 64,
        program_bytes: usize::MAX,
        vcpus: u8::MAX,
        memory_mib: u32::MAX,
        disk_mib: u32::MAX,
        timeout_secs: u64::MAX,
    };
}

/// One thing wrong with a job's specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    /// Where, e.g. `files[2].dest`.
    pub field: String,
    /// What is wrong and what is allowed.
    pub why: String,
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

impl JobSpec {
    /// All that is wrong with it, or nothing. Whoever takes a job asks this, each with its own limits.
    pub fn problems(&self, limits: &SpecLimits) -> Vec<SpecProblem> {
        let mut found = Findings(Vec::new());
        found.name("name", self.name.as_ref(), 128);
        found.name("user", self.user.as_ref(), 128);
        if let Some(workdir) = &self.workdir {
            found.path("workdir", workdir);
        }
        found.range("vcpus", self.vcpus.map(u64::from), 1, limits.vcpus.into(), "");
        found.range("memory_mib", self.memory_mib.map(u64::from), 64, limits.memory_mib.into(), " MiB");
        found.range("disk_mib", self.disk_mib.map(u64::from), 16, limits.disk_mib.into(), " MiB");
        found.range("timeout_secs", self.timeout_secs, 1, limits.timeout_secs, " seconds");
        if let Some(Err(rule)) = self.image.as_ref().map(ImageSource::of) {
            found.add("image", format!("it can never be pulled: {rule}"));
        }
        found.most("labels", self.labels.len(), MOST_LABELS);
        program(self, limits, &mut found);
        files(self, limits, &mut found);
        if found.most("artifacts", self.artifacts.len(), limits.artifacts) {
            for (n, path) in self.artifacts.iter().enumerate() {
                found.path(&format!("artifacts[{n}]"), path);
            }
        }
        found.0
    }
}

struct Findings(Vec<SpecProblem>);

impl Findings {
    fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(SpecProblem { field: field.into(), why: why.into() });
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

fn program(spec: &JobSpec, limits: &SpecLimits, found: &mut Findings) {
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

fn files(spec: &JobSpec, limits: &SpecLimits, found: &mut Findings) {
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
        match FileKind::of(file.mode) {
            None => found.add(
                format!("files[{n}].mode"),
                format!("{:#o} is not the mode of a file, a directory or a symbolic link", file.mode),
            ),
            Some(FileKind::Directory) if file.size > 0 => {
                found.add(format!("files[{n}].size"), "a directory has no bytes of its own; use 0");
            }
            Some(FileKind::Link) if !(1..=LONGEST_PATH as u64).contains(&file.size) => found.add(
                format!("files[{n}].size"),
                format!("the target of a symbolic link has 1 to {LONGEST_PATH} bytes"),
            ),
            Some(_) => {}
        }
        bytes = bytes.saturating_add(file.size);
    }
    if bytes > limits.input_bytes {
        let most = limits.input_bytes;
        found.add("files", format!("they have {bytes} bytes together, at most {most} are taken"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InputFile;

    /// The numbers that documents name.
    #[test]
    fn bounds_are_the_last_that_is_taken() {
        type Change = fn(&mut JobSpec, usize);
        let whole = |change: Change, n: usize| {
            let mut spec = JobSpec::new(Program::Command { argv: vec!["true".to_owned()] });
            change(&mut spec, n);
            spec.problems(&SpecLimits::WIDEST).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let cases: [(Change, usize, &str); 8] = [
            (|spec, n| spec.env = vec![("A".to_owned(), String::new()); n], 1000, "env: 1001 are too many"),
            (|spec, n| spec.artifacts = vec!["/a".to_owned(); n], 64, "artifacts: 65 are too many"),
            (
                |spec, n| {
                    let file = |n| InputFile { dest: format!("/{n}"), mode: 0o7777, size: u64::MAX };
                    spec.files = (0..n).map(file).collect();
                },
                4096,
                "files: 4097 are too many",
            ),
            (
                |spec, n| spec.program = Program::Command { argv: vec!["a".to_owned(); n] },
                10_000,
                "program.command.argv: 10001 are too many",
            ),
            (
                |spec, n| spec.program = Program::Script { text: "x".repeat(n) },
                LONGEST_ARGUMENT,
                "program.script.text: it has 131072 bytes",
            ),
            (|spec, n| spec.workdir = Some("/".repeat(n)), 4095, "workdir: it has 4096 bytes"),
            (|spec, n| spec.name = Some("n".repeat(n)), 128, "name: use 1 to 128 bytes"),
            (|spec, n| spec.user = Some("u".repeat(n)), 128, "user: use 1 to 128 bytes"),
        ];
        for (change, most, says) in cases {
            assert_eq!(whole(change, most), Vec::<String>::new());
            let problems = whole(change, most + 1);
            assert!(problems.len() == 1 && problems[0].starts_with(says), "{says}: {problems:?}");
        }
    }
}
