//! Progress on standard error: bars and spinners on a terminal, nothing elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use fireactions_api::PullStatus;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::show::clean;

/// What goes on now, in one line that is taken away again.
pub(crate) struct Bar {
    bar: ProgressBar,
    what: String,
}

impl Bar {
    /// Begins with a spinner.
    pub(crate) fn new(what: &str) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{spinner} {msg} ({elapsed})"));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, what: clean(what) }
    }

    /// Nobody sees it: standard error is not a terminal.
    pub(crate) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Says something else.
    pub(crate) fn say(&self, text: &str) {
        self.bar.unset_length();
        self.bar.set_style(style("{spinner} {msg} ({elapsed})"));
        self.bar.set_message(clean(text));
    }

    /// A step of a pull.
    pub(crate) fn pull(&self, status: PullStatus, done: u64, total: Option<u64>) {
        let verb = match status {
            PullStatus::Resolving => "looking up",
            PullStatus::Pulling => "pulling",
            PullStatus::Converting => "converting",
            PullStatus::Ready => "ready:",
        };
        self.sized(&format!("{verb} {}", self.what), done, total);
    }

    /// Shows a number of bytes of a total.
    pub(crate) fn sized(&self, text: &str, done: u64, total: Option<u64>) {
        if let Some(total) = total.filter(|total| *total > 0) {
            self.bar.set_length(total.max(done));
            self.bar.set_style(style("{spinner} {msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec}"));
        } else {
            self.bar.unset_length();
            self.bar.set_style(style("{spinner} {msg} {bytes} ({elapsed})"));
        }
        self.bar.set_message(clean(text));
        self.bar.set_position(done);
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
