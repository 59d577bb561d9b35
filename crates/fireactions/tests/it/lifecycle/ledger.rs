//! What the servers wrote down, read without them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fireactions_model::{JobId, MachineId, Outcome};
use fireactions_store::{LogSource, Store};
use rusqlite::{Connection, OpenFlags};

use crate::lifecycle::verdict::{Attempt, Fault};

/// The tables that say who had what.
pub(crate) struct Ledger {
    /// Job, number, machine, outcome.
    attempts: Vec<(String, u32, MachineId, Option<Outcome>)>,
    released: BTreeSet<MachineId>,
    /// Rows that should be gone.
    machines: u32,
    journal: u32,
}

/// Reads the tables of a store that nobody has open.
pub(crate) fn read(path: &Path) -> Ledger {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut query = db
        .prepare(
            "SELECT jobs.id, attempts.attempt, attempts.machine, attempts.ended_at, attempts.outcome
             FROM attempts JOIN jobs ON jobs.seq = attempts.job ORDER BY attempts.job, attempts.attempt",
        )
        .unwrap();
    let attempts = query.query_map([], |row| {
        let outcome: Option<String> = row.get(4)?;
        let ended = row.get::<_, Option<i64>>(3)?.is_some();
        let outcome = outcome.filter(|_| ended).map(|text| serde_json::from_str(&text).unwrap());
        Ok((row.get(0)?, row.get(1)?, MachineId::new(row.get::<_, String>(2)?).unwrap(), outcome))
    });
    let attempts = attempts.unwrap().map(Result::unwrap).collect();
    let mut query = db.prepare("SELECT machine FROM released").unwrap();
    let released = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let released = released.map(|machine| MachineId::new(machine.unwrap()).unwrap()).collect();
    let count = |table: &str| {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u32>(0)).unwrap()
    };
    Ledger { attempts, released, machines: count("machines"), journal: count("journal") }
}

impl Ledger {
    /// What cannot be true together.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.machines + self.journal > 0 {
            wrong.push(format!("{} machines and {} journal entries are left", self.machines, self.journal));
        }
        for (job, number, machine, _) in &self.attempts {
            if self.released.contains(machine) {
                wrong.push(format!("{machine} had job {job} (attempt {number}) and left without a job"));
            }
        }
        wrong
    }

    /// A job's attempts with their outputs.
    pub(crate) fn attempts(
        &self,
        job: &JobId,
        outputs: &[Vec<u8>],
        faults: &BTreeMap<MachineId, BTreeSet<Fault>>,
    ) -> Vec<Attempt> {
        let mine = self.attempts.iter().filter(|(id, ..)| id == job.as_str());
        mine.map(|(_, number, machine, outcome)| Attempt {
            number: *number,
            machine: machine.clone(),
            outcome: outcome.clone(),
            faults: faults.get(machine).cloned().unwrap_or_default(),
            output: outputs.get(*number as usize - 1).cloned().unwrap_or_default(),
        })
        .collect()
    }
}

/// The output of each attempt at a job, both streams in order. Err: the log says something that it should not.
pub(crate) async fn outputs(store: &Store, job: &JobId) -> Result<Vec<Vec<u8>>, String> {
    let mut outputs = vec![vec![]];
    let mut from = 0;
    loop {
        let (records, next) = store.read_log(job, from).await.map_err(|e| e.to_string())?;
        if records.is_empty() {
            return Ok(outputs);
        }
        from = next;
        for record in records {
            if record.source != LogSource::Note {
                outputs.last_mut().unwrap().extend(record.data);
                continue;
            }
            let note = String::from_utf8_lossy(&record.data).into_owned();
            if note.starts_with(&format!("attempt {} starts", outputs.len() + 1)) {
                outputs.push(vec![]);
            } else {
                return Err(format!("its log says: {note}"));
            }
        }
    }
}
