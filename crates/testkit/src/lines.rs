//! What tests have to say past the test harness, which keeps what passing tests print to itself.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;

/// An environment variable that is not empty.
pub(crate) fn given(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// On standard error.
pub(crate) fn say(text: &str) {
    // A closed standard error is no failure of the test.
    let _ = writeln!(std::io::stderr(), "\n{text}");
}

/// Adds a line of these fields to a file.
///
/// # Panics
///
/// When the file cannot be written.
pub(crate) fn add(file: &OsStr, fields: &[&str]) {
    let fields: Vec<String> = fields.iter().map(|field| field.replace(['\t', '\n'], " ")).collect();
    // Tests of several processes write at the same time: one write each, at the file's end.
    let written = fs::OpenOptions::new().create(true).append(true).open(file);
    let written = written.and_then(|mut file| file.write_all(format!("{}\n", fields.join("\t")).as_bytes()));
    written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
