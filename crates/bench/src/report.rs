//! The table, the JSON, and the little arithmetic behind them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

/// What a number has to be.
#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// A load that something is measured under: a goal is judged only where the load was there.
#[derive(Clone, Copy)]
pub struct Load {
    pub wanted: f64,
    pub reached: f64,
    pub unit: &'static str,
}

impl Load {
    /// This much of what is wanted is near enough.
    const ENOUGH: f64 = 0.9;

    fn lacks(self) -> Option<String> {
        (self.reached < self.wanted * Self::ENOUGH)
            .then(|| format!("not measured: only {:.0} of {:.0} {}", self.reached, self.wanted, self.unit))
    }
}

/// Numbers in the order in which they were measured.
pub struct Report {
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
    /// Why the value does not tell whether the goal is met.
    void: Option<String>,
}

impl Row {
    /// A number that could not be measured as it should be meets no goal; not a number (of no samples) neither.
    fn met(&self) -> Option<bool> {
        self.goal.map(|goal| {
            self.void.is_none()
                && match goal {
                    Goal::AtLeast(least) => self.value >= least,
                    Goal::AtMost(most) => self.value <= most,
                }
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
    pub fn new(quick: bool) -> Self {
        let mut report = Self { quick, rows: Vec::new(), notes: Vec::new(), load: Vec::new() };
        report.load("start");
        report
    }

    pub fn row(&mut self, measure: impl Into<String>, value: f64, unit: &'static str) {
        self.push(Row { measure: measure.into(), value, unit, goal: None, void: None });
    }

    pub fn judged(&mut self, measure: impl Into<String>, value: f64, unit: &'static str, goal: Goal) {
        self.push(Row { measure: measure.into(), value, unit, goal: Some(goal), void: None });
    }

    /// The same, where the number means something only under this load.
    pub fn judged_under(
        &mut self,
        load: Load,
        measure: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        self.push(Row { measure: measure.into(), value, unit, goal: Some(goal), void: load.lacks() });
    }

    fn push(&mut self, row: Row) {
        let void = row.void.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        println!("bench: {}: {:.2} {}{void}", row.measure, row.value, row.unit);
        self.rows.push(row);
    }

    /// How something was measured, for whoever compares the numbers with others.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Notes the load average: what else the host was doing.
    pub fn load(&mut self, when: &str) {
        let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let one_minute = text.split_whitespace().next().and_then(|word| word.parse().ok());
        self.load.push((when.to_owned(), one_minute.unwrap_or(f64::NAN)));
    }

    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["measured", "value", "unit", "goal", "met"]);
        for row in &self.rows {
            let met = match (row.met(), &row.void) {
                (Some(_), Some(why)) => why,
                (Some(true), None) => "yes",
                (Some(false), None) => "NO",
                (None, _) => "",
            };
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
            println!("- a quick run: too few repetitions to compare, so a goal that is missed is no failure");
        }
    }

    /// Names the goals that were missed; true when there are none, or when the run was too quick to tell.
    pub fn verdict(&self) -> bool {
        let missed: Vec<&Row> = self.rows.iter().filter(|row| row.met() == Some(false)).collect();
        for row in &missed {
            let why = row.void.clone().unwrap_or_else(|| format!("{:.2} {}", row.value, row.unit));
            println!("bench: goal missed: {}: {why}, {} wanted", row.measure.trim(), row.goal_text());
        }
        let judged = self.rows.iter().filter(|row| row.goal.is_some()).count();
        println!("bench: {} of {judged} goals met", judged - missed.len());
        missed.is_empty() || self.quick
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "measure": row.measure, "value": row.value, "unit": row.unit,
                    "goal": row.goal.map(|_| row.goal_text()), "met": row.met(), "void": row.void,
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
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::{Goal, Load, Report, percentile};

    fn verdict(quick: bool, fill: impl FnOnce(&mut Report)) -> bool {
        let mut report = Report::new(quick);
        report.judged("met", 1.0, "s", Goal::AtMost(1.0));
        fill(&mut report);
        report.verdict()
    }

    fn under(reached: f64) -> bool {
        let load = Load { wanted: 500.0, reached, unit: "events/s" };
        verdict(false, |report| report.judged_under(load, "fast", 1.0, "ms", Goal::AtMost(10.0)))
    }

    #[test]
    fn a_missed_goal_is_a_failure_but_for_a_quick_run() {
        assert!(verdict(false, |report| report.row("no goal", 1e9, "s")));
        assert!(!verdict(false, |report| report.judged("slow", 1.1, "s", Goal::AtMost(1.0))));
        assert!(!verdict(false, |report| report.judged("less", 1.9, "×", Goal::AtLeast(2.0))));
        assert!(verdict(true, |report| report.judged("slow", 1.1, "s", Goal::AtMost(1.0))));
    }

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        assert!(!verdict(false, |report| report.judged(
            "nothing",
            percentile(&[], 99),
            "s",
            Goal::AtMost(1.0)
        )));
        assert!(under(450.0));
        assert!(!under(449.0));
    }

    #[test]
    fn the_nearest_rank_is_a_percentile() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let found = [0, 50, 99, 100].map(|percent| percentile(&values, percent).to_string());
        assert_eq!(found, ["1", "100", "198", "200"]);
    }
}
