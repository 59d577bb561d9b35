//! Firecracker's command line, as strict as its own.

use std::path::PathBuf;

use super::config::Level;

/// What is used of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) id: String,
    pub(crate) api_sock: PathBuf,
    pub(crate) version: bool,
    pub(crate) log_path: Option<PathBuf>,
    pub(crate) level: Level,
    pub(crate) show_level: bool,
    pub(crate) metrics_path: Option<PathBuf>,
    pub(crate) max_payload: usize,
    pub(crate) mmds_limit: usize,
}

const VALUES: [&str; 14] = [
    "api-sock",
    "id",
    "seccomp-filter",
    "start-time-us",
    "start-time-cpu-us",
    "parent-cpu-time-us",
    "metadata",
    "log-path",
    "level",
    "module",
    "metrics-path",
    "http-api-max-payload-size",
    "mmds-size-limit",
    "describe-snapshot",
];
const FLAGS: [&str; 5] = ["no-seccomp", "show-level", "show-log-origin", "boot-timer", "version"];

/// A `--name value` list in which nothing is twice. `--` ends it.
pub(crate) fn pairs<'a>(
    given: &'a [String],
    values: &[&str],
    flags: &[&str],
    repeated: &[&str],
) -> Result<Vec<(&'a str, &'a str)>, String> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut words = given.iter().take_while(|word| *word != "--").map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let unexpected =
            || format!("Found argument '{word}' which wasn't expected, or isn't valid in this context.");
        let name = word.strip_prefix("--").ok_or_else(unexpected)?;
        let value = if flags.contains(&name) {
            ""
        } else if values.contains(&name) || repeated.contains(&name) {
            let value = words.next_if(|value| !value.starts_with("--"));
            value.ok_or_else(|| format!("The argument '{name}' requires a value, but none was supplied."))?
        } else {
            return Err(unexpected());
        };
        if !repeated.contains(&name) && found.iter().any(|(other, _)| *other == name) {
            return Err(format!("The argument '{name}' was provided more than once."));
        }
        found.push((name, value));
    }
    Ok(found)
}

/// 1 to 64 letters, digits and hyphens.
pub(crate) fn check_id(id: &str) -> Result<(), String> {
    if id.is_empty() || id.len() > 64 {
        return Err(format!("Invalid len ({});  the length must be between 1 and 64", id.len()));
    }
    match id.chars().enumerate().find(|(_, c)| *c != '-' && !c.is_alphanumeric()) {
        Some((index, c)) => Err(format!("Invalid char ({c}) at position {index}")),
        None => Ok(()),
    }
}

impl Arguments {
    /// The error is Firecracker's sentence.
    pub(crate) fn parse(given: &[String]) -> Result<Self, String> {
        let version = given.iter().any(|word| word == "--version");
        let pairs = if version { Vec::new() } else { pairs(given, &VALUES, &FLAGS, &[])? };
        let value = |name: &str| pairs.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        let number = |name: &str| {
            let text = value(name)?;
            Some(text.parse::<usize>().map_err(|_| format!("'{text}' is no number of bytes for {name}")))
        };
        let id = value("id").unwrap_or("anonymous-instance").to_owned();
        check_id(&id).map_err(|error| format!("Invalid instance ID: {error}"))?;
        let level = Level::try_from(value("level").unwrap_or("info").to_owned())
            .map_err(|error| format!("Couldn't parse the log level: {error}"))?;
        let max_payload =
            number("http-api-max-payload-size").transpose()?.unwrap_or(super::http::MAX_PAYLOAD);
        Ok(Self {
            id,
            api_sock: value("api-sock").unwrap_or("/run/firecracker.socket").into(),
            version,
            level,
            show_level: value("show-level").is_some(),
            log_path: value("log-path").map(super::inside::host_path),
            metrics_path: value("metrics-path").map(super::inside::host_path),
            max_payload,
            mmds_limit: number("mmds-size-limit").transpose()?.unwrap_or(max_payload),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_as_strict_as_firecracker_s() {
        let arguments = parse("--id m-1 --api-sock api.sock --start-time-us 5 --no-seccomp").unwrap();
        assert_eq!((arguments.id.as_str(), arguments.mmds_limit), ("m-1", 51_200));
        assert!(parse("--version").unwrap().version);
        for (line, word) in [
            ("--id a_b", "Invalid char (_) at position 1"),
            ("--id", "requires a value"),
            ("--id a --id b", "more than once"),
            ("--sleep 1", "wasn't expected"),
            ("--api-sock --id a", "requires a value"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
