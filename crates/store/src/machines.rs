//! Machine rows, their journal and their slots.

use std::net::Ipv4Addr;

use fireactions_model::{
    Digest, Failure, JobId, MachineId, MachineState, MachineView, PhaseTimes, PoolName, PoolSpec, Shape, Step,
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::row::{
    collect, damaged, id, id_opt, json, json_opt, name, now, number, number_opt, time, time_opt, to_json,
};
use crate::{Store, StoreError};

/// What a new row starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMachineRow {
    /// Its id, never used before.
    pub id: MachineId,
    /// Its pool as it is now; the machine keeps to this, whatever happens to the configuration.
    pub spec: PoolSpec,
    /// What it is made of; may differ from the pool's own shape.
    pub shape: Shape,
    /// Slots are 0 to this, exclusive.
    pub max_slots: u32,
}

/// A machine's durable row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineRow {
    /// Its id.
    pub id: MachineId,
    /// Its pool.
    pub pool: PoolName,
    /// Its pool as it was when the machine was made; absent in rows of the first schema.
    pub spec: Option<PoolSpec>,
    /// What it is made of.
    pub shape: Shape,
    /// State.
    pub state: MachineState,
    /// Last journaled step.
    pub step: Step,
    /// Its number on this host, unique while the row exists; address, MAC and uid are made from it.
    pub slot: u32,
    /// VMM process.
    pub pid: Option<u32>,
    /// When that process started, in clock ticks since boot: tells a reused pid.
    pub start_ticks: Option<u64>,
    /// Root image, pinned while the row exists.
    pub image: Option<Digest>,
    /// Work bound to it, as the machine knows it.
    pub job: Option<JobId>,
    /// Why it is being stopped, if it failed. The first failure stays.
    pub failure: Option<Failure>,
    /// Finished phases.
    pub phases: PhaseTimes,
    /// When the row was written.
    pub created_at: Timestamp,
    /// When the state was entered.
    pub state_since: Timestamp,
    /// Until when a held machine stays.
    pub held_until: Option<Timestamp>,
    /// Seconds for which it is to be held once its job has ended.
    pub hold_secs: Option<u64>,
}

impl MachineRow {
    /// The row as others see it.
    pub fn view(&self, address: Option<Ipv4Addr>) -> MachineView {
        MachineView {
            id: self.id.clone(),
            pool: self.pool.clone(),
            shape: self.shape.clone(),
            state: self.state,
            step: self.step,
            job: self.job.clone(),
            pid: self.pid,
            address,
            failure: self.failure.clone(),
            phases: self.phases.clone(),
            created_at: self.created_at,
            state_since: self.state_since,
            held_until: self.held_until,
            hold_secs: self.hold_secs,
            started: None,
            unrecorded: None,
        }
    }
}

/// One line of a machine's journal.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalEntry {
    /// The step that was about to be done.
    pub step: Step,
    /// What undoing it needs.
    pub detail: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

/// Changes to one machine row that become durable together, in one commit. Empty fields are left as they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MachineChange {
    /// The next step and what undoing it needs; also written to the journal.
    pub step: Option<(Step, serde_json::Value)>,
    /// State; `state_since` moves only when it differs.
    pub state: Option<MachineState>,
    /// Failure; ignored when there is one already.
    pub failure: Option<Failure>,
    /// VMM process: pid and start ticks. [`Step::Spawn`] forgets the one of before.
    pub process: Option<(u32, u64)>,
    /// Root image.
    pub image: Option<Digest>,
    /// Work bound to it, or none any more.
    pub job: Option<Option<JobId>>,
    /// Every phase that ended so far, in place of those in the row.
    pub phases: Option<PhaseTimes>,
    /// Until when a held machine stays.
    pub held_until: Option<Timestamp>,
    /// Seconds for which it is to be held once its job has ended, or that nobody wants that any more.
    pub hold_secs: Option<Option<u64>>,
}

impl Store {
    /// Writes the row of a new machine in state `Creating`, step `Created`, with the smallest free slot.
    pub async fn insert_machine(&self, new: NewMachineRow) -> Result<MachineRow, StoreError> {
        self.write_until_power_loss(move |tx| {
            let slot = free_slot(tx.db, new.max_slots)?;
            let at = now();
            let added = tx
                .db
                .prepare_cached(
                    "INSERT INTO machines (id, pool, shape, state, step, slot, created_at, state_since, spec)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8) ON CONFLICT (id) DO NOTHING",
                )?
                .execute(params![
                    new.id.as_str(),
                    new.spec.name.as_str(),
                    to_json("shape", &new.shape)?,
                    MachineState::Creating.as_str(),
                    Step::Created.as_str(),
                    slot,
                    at,
                    to_json("spec", &new.spec)?,
                ])?;
            if added == 0 {
                return Err(StoreError::Exists(format!("machine {}", new.id)));
            }
            write_journal(tx.db, &new.id, Step::Created, &serde_json::Value::Null, at)?;
            get(tx.db, &new.id)
        })
        .await
    }

    /// Applies `change` in one commit and returns the row as it then stands.
    pub async fn change_machine(
        &self,
        id: &MachineId,
        change: MachineChange,
    ) -> Result<MachineRow, StoreError> {
        let id = id.clone();
        self.write_until_power_loss(move |tx| apply(tx.db, &id, &change)).await
    }

    /// Journals that `step` is about to be done. Returns when that would outlive the server.
    pub async fn journal(
        &self,
        id: &MachineId,
        step: Step,
        detail: serde_json::Value,
    ) -> Result<(), StoreError> {
        let change = MachineChange { step: Some((step, detail)), ..Default::default() };
        self.change_machine(id, change).await.map(drop)
    }

    /// Every row, oldest first.
    pub async fn machines(&self) -> Result<Vec<MachineRow>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT * FROM machines ORDER BY created_at, id")?;
            collect(query.query([])?, read)
        })
        .await
    }

    /// One row.
    pub async fn machine(&self, id: &MachineId) -> Result<Option<MachineRow>, StoreError> {
        let id = id.clone();
        self.read(move |db| find(db, &id)).await
    }

    /// A machine's journal, oldest first.
    pub async fn journal_of(&self, id: &MachineId) -> Result<Vec<JournalEntry>, StoreError> {
        let id = id.clone();
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT step, detail, at FROM journal WHERE machine = ? ORDER BY seq")?;
            collect(query.query([id.as_str()])?, read_journal)
        })
        .await
    }

    /// Removes row, journal and slot in one commit. A machine without a row is fine.
    pub async fn remove_machine(&self, id: &MachineId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write_until_power_loss(move |tx| {
            tx.db.prepare_cached("DELETE FROM machines WHERE id = ?")?.execute([id.as_str()])?;
            // Ids are not used twice: nobody offers this machine again.
            tx.db.prepare_cached("DELETE FROM released WHERE machine = ?")?.execute([id.as_str()])?;
            Ok(())
        })
        .await
    }
}

/// The smallest number that no row has.
fn free_slot(db: &Connection, max_slots: u32) -> Result<u32, StoreError> {
    let slot: i64 = db
        .prepare_cached(
            "SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM machines WHERE slot = 0) THEN 0
             ELSE (SELECT min(slot) + 1 FROM machines m
                   WHERE NOT EXISTS (SELECT 1 FROM machines n WHERE n.slot = m.slot + 1)) END",
        )?
        .query_row([], |row| row.get(0))?;
    u32::try_from(slot).ok().filter(|slot| *slot < max_slots).ok_or(StoreError::NoSlot(max_slots))
}

fn apply(db: &Connection, id: &MachineId, change: &MachineChange) -> Result<MachineRow, StoreError> {
    let mut row = get(db, id)?;
    let at = now();
    if let Some((step, detail)) = &change.step {
        write_journal(db, id, *step, detail, at)?;
        row.step = *step;
    }
    if let Some(state) = change.state
        && state != row.state
    {
        row.state = state;
        row.state_since = Timestamp::from_microsecond(at).map_err(|error| damaged("state_since", &error))?;
    }
    if row.failure.is_none() {
        row.failure.clone_from(&change.failure);
    }
    if matches!(change.step, Some((Step::Spawn, _))) {
        // A machine whose clone failed is spawned again: until the new process is known, none is.
        (row.pid, row.start_ticks) = (None, None);
    }
    if let Some((pid, ticks)) = change.process {
        (row.pid, row.start_ticks) = (Some(pid), Some(ticks));
    }
    if let Some(image) = &change.image {
        row.image = Some(image.clone());
    }
    if let Some(job) = &change.job {
        row.job.clone_from(job);
    }
    if let Some(phases) = &change.phases {
        row.phases.clone_from(phases);
    }
    if change.held_until.is_some() {
        row.held_until = change.held_until;
    }
    if let Some(wished) = change.hold_secs {
        row.hold_secs = wished;
    }
    let hold = row.hold_secs.map(i64::try_from).transpose().map_err(|e| damaged("hold_secs", &e))?;
    let ticks = row.start_ticks.map(i64::try_from).transpose().map_err(|e| damaged("start_ticks", &e))?;
    db.prepare_cached(
        "UPDATE machines SET state = ?2, step = ?3, pid = ?4, start_ticks = ?5, image = ?6, job = ?7,
         failure = ?8, phases = ?9, state_since = ?10, held_until = ?11, hold_secs = ?12
         WHERE id = ?1",
    )?
    .execute(params![
        id.as_str(),
        row.state.as_str(),
        row.step.as_str(),
        row.pid,
        ticks,
        row.image.as_ref().map(Digest::as_str),
        row.job.as_ref().map(JobId::as_str),
        row.failure.as_ref().map(|failure| to_json("failure", failure)).transpose()?,
        to_json("phases", &row.phases)?,
        row.state_since.as_microsecond(),
        row.held_until.map(Timestamp::as_microsecond),
        hold,
    ])?;
    Ok(row)
}

fn write_journal(
    db: &Connection,
    id: &MachineId,
    step: Step,
    detail: &serde_json::Value,
    at: i64,
) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO journal (machine, at, step, detail) VALUES (?, ?, ?, ?)")?
        .execute(params![id.as_str(), at, step.as_str(), detail.to_string()])?;
    Ok(())
}

fn find(db: &Connection, id: &MachineId) -> Result<Option<MachineRow>, StoreError> {
    db.prepare_cached("SELECT * FROM machines WHERE id = ?")?
        .query_row([id.as_str()], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn get(db: &Connection, id: &MachineId) -> Result<MachineRow, StoreError> {
    find(db, id)?.ok_or_else(|| StoreError::NoMachine(id.clone()))
}

pub(crate) fn read(row: &Row<'_>) -> Result<MachineRow, StoreError> {
    Ok(MachineRow {
        id: id(row, "id")?,
        pool: id(row, "pool")?,
        spec: json_opt(row, "spec")?,
        shape: json(row, "shape")?,
        state: name(row, "state")?,
        step: name(row, "step")?,
        slot: number(row, "slot")?,
        pid: number_opt(row, "pid")?,
        start_ticks: number_opt(row, "start_ticks")?,
        image: id_opt(row, "image")?,
        job: id_opt(row, "job")?,
        failure: json_opt(row, "failure")?,
        phases: json(row, "phases")?,
        created_at: time(row, "created_at")?,
        state_since: time(row, "state_since")?,
        held_until: time_opt(row, "held_until")?,
        hold_secs: number_opt(row, "hold_secs")?,
    })
}

pub(crate) fn read_journal(row: &Row<'_>) -> Result<JournalEntry, StoreError> {
    Ok(JournalEntry { step: name(row, "step")?, detail: json(row, "detail")?, at: time(row, "at")? })
}
