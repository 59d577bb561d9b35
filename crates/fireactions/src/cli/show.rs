//! How things are shown: tables and words for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use fireactions_model::{JobState, MachineState, PhaseTimes};
use jiff::Timestamp;
use serde::Serialize;

/// For commands that can answer programs.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Format {
    /// Write JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Writes `value` as JSON, or else what `text` makes of it.
pub(crate) fn write<T: Serialize + ?Sized>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let mut text = if format.json { serde_json::to_string_pretty(value)? } else { text(value) };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    line(&text)
}

/// Writes text to standard output.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line for people to standard error, where it does not get between a job's output.
pub(crate) fn note(text: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "fireactions: {}", clean(text));
}

/// A table without lines, as `ps` and `docker` write them.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if colour_on_stdout() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(header);
    table
}

/// The table's text, without the blanks that it ends its lines with.
pub(crate) fn finish(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, one a line.
pub(crate) fn rows(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 1;
    let mut text = String::new();
    for (name, value) in rows {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{:width$} {}", format!("{name}:"), clean(value));
    }
    text
}

/// A cell of text that may come from anywhere.
#[allow(clippy::needless_pass_by_value, reason = "numbers and references alike")]
pub(crate) fn cell(text: impl ToString) -> Cell {
    Cell::new(clean(&text.to_string()))
}

/// A cell of what may be absent.
pub(crate) fn maybe(text: Option<impl ToString>) -> Cell {
    text.map_or_else(|| Cell::new("-"), cell)
}

/// A machine's state, coloured.
pub(crate) fn machine_state(state: MachineState) -> Cell {
    let colour = match state {
        MachineState::Creating | MachineState::Booting | MachineState::Starting => Color::Yellow,
        MachineState::Ready | MachineState::Busy => Color::Green,
        MachineState::Held => Color::Red,
        MachineState::Stopping => Color::DarkGrey,
    };
    Cell::new(state).fg(colour)
}

/// A job's state, coloured.
pub(crate) fn job_state(state: JobState) -> Cell {
    let colour = match state {
        JobState::Queued | JobState::Assigned | JobState::Running => Color::Yellow,
        JobState::Succeeded => Color::Green,
        JobState::Failed | JobState::TimedOut | JobState::Lost => Color::Red,
        JobState::Cancelled => Color::DarkGrey,
    };
    Cell::new(state).fg(colour)
}

/// True when standard output shows colours: it is a terminal, and `NO_COLOR` (no-color.org) is not set.
pub(crate) fn colour_on_stdout() -> bool {
    io::stdout().is_terminal() && colour_wanted()
}

/// As [`colour_on_stdout`], for standard error.
pub(crate) fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && colour_wanted()
}

fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text without what would move the cursor or the reading direction.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Until when, to the second, and how long that is.
pub(crate) fn until(then: Option<Timestamp>) -> String {
    let Some(then) = then else { return "for a while".to_owned() };
    let left = Duration::try_from(then.duration_since(Timestamp::now())).unwrap_or_default();
    format!("until {} ({})", then.strftime("%Y-%m-%dT%H:%M:%SZ"), span(left))
}

/// How long ago, in one unit.
pub(crate) fn ago(then: Timestamp) -> String {
    span(Duration::try_from(Timestamp::now().duration_since(then)).unwrap_or_default())
}

/// A time span in one unit, as `ps` shows ages.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..=119 => format!("{secs}s"),
        secs @ 120..=7199 => format!("{}m", secs / 60),
        secs @ 7200..=172_799 => format!("{}h", secs / 3600),
        secs => format!("{}d", secs / 86_400),
    }
}

/// A measured time with three digits.
pub(crate) fn micros(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let seconds = micros as f64 / 1e6;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", seconds * 1e3),
        1_000_000..60_000_000 => format!("{seconds:.2} s"),
        _ => format!("{} min {:02} s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

/// What a cleaning has done: how many of what it removed, the bytes that are free now, and those that are left.
pub(crate) fn removed(count: impl std::fmt::Display, what: &str, freed: u64, left: u64) -> String {
    format!("removed {count} {what}, freed {}, {} left", bytes(freed), bytes(left))
}

/// A size in binary units.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// The phases on one line.
pub(crate) fn phases(times: &PhaseTimes) -> String {
    let parts: Vec<String> = times.iter().map(|(phase, time)| format!("{phase} {}", micros(*time))).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(
            [micros(999), micros(1_500), micros(12_345_678), micros(61_000_000)],
            ["999 µs", "1.5 ms", "12.35 s", "1 min 01 s"]
        );
        assert_eq!([span(Duration::from_secs(119)), span(Duration::from_secs(7200))], ["119s", "2h"]);
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(3 << 30)],
            ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]
        );
    }
}
