//! What the fuzz target calls and the tests try their inputs with: whatever the bytes are, an answer in bounded time,
//! never a panic, and every mistake has its place in the file.

// A broken invariant is a finding, and is to be as loud as it can.
#![allow(clippy::expect_used, clippy::missing_panics_doc)]

use std::path::Path;

use crate::{Diagnostic, Host, parse, translate};

/// A configuration file.
pub fn config(data: &[u8]) {
    let host = Host { vcpus: Some(2), memory_mib: Some(1024) };
    match parse(Path::new("c"), data, &host) {
        Ok(loaded) => {
            assert_eq!(loaded.config.pools().len(), loaded.config.pools.len());
            for warning in &loaded.warnings {
                presentable(warning, data);
            }
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty() && errors.errors.len() <= 50);
            for error in &errors.errors {
                presentable(error, data);
            }
        }
    }
    migrated(data);
}

/// What is made of another program's file is a file that is read.
fn migrated(data: &[u8]) {
    match translate(Path::new("c"), data) {
        Ok(migrated) => {
            let read = parse(Path::new("c"), migrated.text.as_bytes(), &Host::unknown());
            assert!(read.is_ok(), "{}\n{}", read.expect_err("an error"), migrated.text);
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty() && errors.errors.len() <= 50);
            for error in &errors.errors {
                presentable(error, data);
            }
        }
    }
}

/// It has a place in the file, and can be shown on a terminal.
fn presentable(problem: &Diagnostic, data: &[u8]) {
    let shown = problem.to_string();
    let Diagnostic { line, column, message, help, .. } = problem;
    let whole = *line == 0 && message.contains("larger than");
    assert!(whole || (*line > 0 && *column > 0), "no place: {shown}");
    if !whole {
        assert!(shown.starts_with(&format!("c:{line}:{column}: ")), "{shown}");
        let text = data.split(|byte| *byte == b'\n').nth(line - 1);
        let text = String::from_utf8_lossy(text.expect("a line that the file does not have"));
        assert!(*column <= text.chars().count() + 1, "a column that the line does not have: {shown}");
    }
    let one_line = |text: &str| !text.is_empty() && !text.contains(char::is_control);
    assert!(one_line(message) && help.as_deref().is_none_or(one_line), "{shown:?}");
    assert!(shown.lines().all(|line| line.len() < 4_000 && !line.contains(char::is_control)), "{shown:?}");
}

#[cfg(test)]
mod tests;
