//! The table, the JSON, and the little arithmetic behind them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

/// What a number has to be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// Numbers in the order in which they were measured.
pub(crate) struct Report {
    quick: bool,
    rows: Vec<Row>,
    notes: Vec<String>,
    load: Vec<(String, f64)>,
}

struct Row {
    measure: String,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
}

impl Row {
    fn met(&self) -> Option<bool> {
        self.goal.map(|goal| match goal {
            Goal::AtLeast(least) => self.value >= least,
            Goal::AtMost(most) => self.value <= most,
        })
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Some(Goal::AtLeast(least)) => format!("≥ {least}"),
            Some(Goal::AtMost(most)) => format!("≤ {most}"),
            None => String::new(),
        }
    }
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        let mut report = Self { quick, rows: Vec::new(), notes: Vec::new(), load: Vec::new() };
        report.load("start");
        report
    }

    pub(crate) fn row(&mut self, measure: impl Into<String>, value: f64, unit: &'static str) {
        self.push(measure.into(), value, unit, None);
    }

    pub(crate) fn judged(&mut self, measure: impl Into<String>, value: f64, unit: &'static str, goal: Goal) {
        self.push(measure.into(), value, unit, Some(goal));
    }

    fn push(&mut self, measure: String, value: f64, unit: &'static str, goal: Option<Goal>) {
        println!("bench: {measure}: {value:.2} {unit}");
        self.rows.push(Row { measure, value, unit, goal });
    }

    /// How something was measured, for whoever compares the numbers with others.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Notes the load average: what else the host was doing.
    pub(crate) fn load(&mut self, when: &str) {
        let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let one_minute = text.split_whitespace().next().and_then(|word| word.parse().ok());
        self.load.push((when.to_owned(), one_minute.unwrap_or(f64::NAN)));
    }

    pub(crate) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["measured", "value", "unit", "goal", "met"]);
        for row in &self.rows {
            let met = row.met().map_or("", |met| if met { "yes" } else { "NO" });
            let value = Cell::new(format!("{:.2}", row.value)).set_alignment(CellAlignment::Right);
            let cells = [Cell::new(&row.measure), value, Cell::new(row.unit), Cell::new(row.goal_text())];
            table.add_row(cells.into_iter().chain([Cell::new(met)]));
        }
        println!("{table}");
        for note in &self.notes {
            println!("- {note}");
        }
        let load: Vec<String> = self.load.iter().map(|(when, load)| format!("{when} {load}")).collect();
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        println!("- load average of one minute on {cpus} CPUs: {}", load.join(", "));
        if self.quick {
            println!("- a quick run: too few repetitions to compare");
        }
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "measure": row.measure, "value": row.value, "unit": row.unit,
                    "goal": row.goal.map(|_| row.goal_text()), "met": row.met(),
                })
            })
            .collect();
        let load: Vec<Value> =
            self.load.iter().map(|(when, load)| json!({"when": when, "one_minute": load})).collect();
        let document =
            json!({"quick": self.quick, "measurements": rows, "notes": self.notes, "load_average": load});
        std::fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("bench: wrote {}", path.display());
        Ok(())
    }
}

/// The smallest value that at least `percent` of all values do not exceed (nearest rank).
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
