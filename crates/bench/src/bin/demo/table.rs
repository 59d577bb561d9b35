//! What came of the jobs, and what the time went into.

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::Args;
use crate::jobs::{Finished, text};
use crate::watch::Watch;

const PHASES: [&str; 9] = ["queued", "image", "net", "spawn", "kernel", "agent", "runner", "job", "teardown"];

/// Something that took time.
#[derive(Clone)]
pub(crate) struct Spent {
    what: String,
    seconds: f64,
}

impl FromStr for Spent {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (what, seconds) = text.rsplit_once('=').context("WHAT=SECONDS")?;
        Ok(Self { what: what.to_owned(), seconds: seconds.parse()? })
    }
}

/// What took how long, in order.
pub(crate) struct Times {
    rows: Vec<Spent>,
    before: Duration,
    begun: Instant,
    first_line: Option<Instant>,
}

impl Times {
    pub(crate) fn new(args: &Args) -> Self {
        let before = Duration::from_secs(args.before);
        Self { rows: args.spent.clone(), before, begun: Instant::now(), first_line: None }
    }

    pub(crate) fn add(&mut self, what: &str, took: Duration) {
        self.rows.push(Spent { what: what.to_owned(), seconds: took.as_secs_f64() });
    }

    /// What was seen while the jobs ran.
    pub(crate) fn watched(&mut self, watch: &Watch, since: Instant, results: &anyhow::Result<Vec<Finished>>) {
        let all = since.elapsed();
        self.first_line = watch.first_line();
        self.add("jobs, from the first one's submission to the last one's end", all);
        // Only the first machine waits for it; those that come later find it made.
        let image = |result: &Finished| result.record["phases"]["image"].as_f64().map(|micros| micros / 1e6);
        let image = results.iter().flatten().filter_map(image).fold(0.0, f64::max);
        self.rows
            .push(Spent { what: "  of it: the image made a root (squashfs)".to_owned(), seconds: image });
        match watch.template.took() {
            Some(took) => self.add("  beside it: the template that machines are clones of", took),
            None => self.add("  beside it: the template (an earlier run's)", Duration::ZERO),
        }
        for result in results.iter().flatten() {
            let job = result.record["phases"]["job"].as_f64().unwrap_or_default() / 1e6;
            self.rows.push(Spent { what: format!("  job {}", result.name), seconds: job });
        }
    }

    pub(crate) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["what the time went into", "seconds"]);
        for row in &self.rows {
            let seconds = Cell::new(format!("{:.1}", row.seconds)).set_alignment(CellAlignment::Right);
            table.add_row([Cell::new(&row.what), seconds]);
        }
        println!("{table}");
        let first = self.first_line.map(|at| self.before + at.duration_since(self.begun));
        let first = first.map_or("no job's line".to_owned(), |at| {
            format!("{:.0} s to a job's first line", at.as_secs_f64())
        });
        println!("demo: {first}, {:.0} s in all", (self.before + self.begun.elapsed()).as_secs_f64());
    }
}

/// Job, result, exit code, seconds in each phase.
pub(crate) fn results(results: &[Finished]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["job", "result", "exit", "expected"].into_iter().chain(PHASES));
    for result in results {
        let mut row = vec![
            Cell::new(result.name),
            Cell::new(text(&result.record, "state")),
            Cell::new(result.exit.map_or_else(|| "-".to_owned(), |code| code.to_string())),
            Cell::new(if result.as_expected() {
                "yes".to_owned()
            } else {
                format!("no: {}", result.expected)
            }),
        ];
        for phase in PHASES {
            let micros = result.record["phases"][phase].as_f64();
            row.push(Cell::new(
                micros.map_or_else(|| "-".to_owned(), |micros| format!("{:.2}s", micros / 1e6)),
            ));
        }
        table.add_row(row);
    }
    println!("{table}");
}
