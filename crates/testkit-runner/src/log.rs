//! The program's own lines, as the real programs' logger (logrus) writes them: `time="…" level=info msg="…"`.

use std::fmt::Write as _;
use std::io::Write as _;

/// How much a line matters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Writes a line with more fields.
pub(crate) fn line(level: Level, message: &str, fields: &[(&str, &str)]) {
    let text = format(&second(), level, message, fields);
    // A closed standard error stops no job.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Writes a line.
pub(crate) fn info(message: &str) {
    line(Level::Info, message, &[]);
}

/// Now, to the nanosecond, as the protocol has times.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn second() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn format(time: &str, level: Level, message: &str, fields: &[(&str, &str)]) -> String {
    let mut text = format!("time=\"{time}\" level={} msg={}", level.name(), quoted(message));
    for (name, value) in fields {
        let _ = write!(text, " {name}={}", quoted(value));
    }
    text + "\n"
}

/// A value is quoted where it is not one plain word.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if value.chars().all(plain) && !value.is_empty() { value.to_owned() } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_the_real_ones() {
        let seen = format("2026-11-29T00:55:42Z", Level::Info, "Starting runner daemon", &[]);
        assert_eq!(seen, "time=\"2026-11-29T00:55:42Z\" level=info msg=\"Starting runner daemon\"\n");
        let seen = format("T", Level::Warning, "ReportLog error: a: b", &[("task_id", "5")]);
        assert_eq!(seen, "time=\"T\" level=warning msg=\"ReportLog error: a: b\" task_id=5\n");
    }
}
