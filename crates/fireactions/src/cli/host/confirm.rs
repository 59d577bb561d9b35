//! Asking before something is destroyed.

use std::io::{self, BufRead as _, Write as _};

use super::super::edge::advise;

/// Asks on the terminal, or whoever is at standard input.
///
/// # Errors
/// When the answer is no, or there is none.
pub(super) fn ask(question: &str) -> anyhow::Result<()> {
    let mut out = io::stderr().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    let said = if answer.is_empty() { "nobody answered" } else { "the answer was no" };
    Err(advise(format!("{said}: nothing was changed"), "--yes answers the question beforehand"))
}
