//! What a check of a forge found, in plain words.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::{Ended, show};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    text: String,
    problems: u32,
}

impl Report {
    /// What the following lines are about.
    pub(super) fn head(&mut self, what: &str) {
        let _ = writeln!(self.text, "{}", show::clean(what));
    }

    /// Something is as it should be.
    pub(super) fn well(&mut self, what: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "  ok       {}", show::clean(what));
    }

    /// Something is not, and what to do about it.
    pub(super) fn problem(&mut self, what: &str, todo: &str) {
        self.problems += 1;
        let _ = writeln!(self.text, "  PROBLEM  {}\n           {}", show::clean(what), show::clean(todo));
    }

    /// Something to know.
    pub(super) fn note(&mut self, what: &str) {
        let _ = writeln!(self.text, "  note     {}", show::clean(what));
    }

    /// The last line: whether all is well.
    pub(super) fn verdict(&mut self) {
        let verdict = match self.problems {
            0 => "everything is as it should be".to_owned(),
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        self.head(&verdict);
    }

    /// Prints it; the exit code is 1 when there are problems.
    pub(super) fn show(&self) -> Ended {
        show::line(&self.text)?;
        Ok(if self.problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}
