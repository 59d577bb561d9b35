//! Databases of older versions stay readable: for each version there is one in `fixtures/`, with rows in every table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::*;
use fireactions_model::{
    Digest, Failure, FailureKind, JobId, JobRecord, Label, MachineId, MachineState, NetworkPolicy, OnFailure,
    Phase, PhaseTimes, PoolSpec, Release, Shape, Step,
};
use fireactions_store::{JobFilter, JournalEntry, MachineRow, PoolOverride, Standing, Store};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What each migration was when it was released. A released one is never changed, because databases out there have
/// had it as it was: a change is a new file, with a line here and a fixture of the schema that it makes.
const RELEASED: [(&str, &str); 4] = [
    ("0001.sql", "31999a806b24d017dd328cdbe32187f115a5bdec3c71c57e142301db34b779b0"),
    ("0002.sql", "bebb9fff2e422df001b7ac65ded23f2ba152a236369812ffa5b46ed79d7c6b22"),
    ("0003.sql", "d5ff9fd8a1fee8925bcde3b3624717f654029f4f3e756924c528ec3ee5a7b189"),
    ("0004.sql", "87d7ff2dacc2f768924dfc8cc8ea523c437423d1e4a355d2d536458ffdf6810d"),
];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn fixture(version: usize) -> String {
    let path = here(&format!("tests/fixtures/v{version}.sql"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("schema version {version} has no fixture ({}): {error}; add one", path.display())
    })
}

/// A state directory with the database of that version, as a server of its time left it.
fn old(version: usize) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    let db = Connection::open(temp.path().join("state.db")).unwrap();
    db.execute_batch(&fixture(version)).unwrap();
    temp
}

/// Everything that makes up a schema: name and SQL of each table and index.
fn schema(db: &Connection) -> BTreeMap<String, String> {
    let mut query = db
        .prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        .unwrap();
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// How many rows each table has.
fn rows(db: &Connection) -> BTreeMap<String, u64> {
    let mut query = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap();
    let tables: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let count = |table: &str| {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
    };
    tables.into_iter().map(|table| (table.clone(), count(&table).try_into().unwrap())).collect()
}

#[test]
fn released_migrations_are_never_changed() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(here("src/migrations")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let found: Vec<(String, String)> = files
        .iter()
        .map(|file| {
            let sum = Sha256::digest(std::fs::read(file).unwrap());
            let hex = sum.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            (file.file_name().unwrap().to_str().unwrap().to_owned(), hex)
        })
        .collect();
    let found: Vec<(&str, &str)> = found.iter().map(|(name, sum)| (name.as_str(), sum.as_str())).collect();
    assert_eq!(found, RELEASED, "write a new migration instead; see RELEASED");
}

#[tokio::test]
async fn every_version_has_a_fixture_with_rows_in_every_table() {
    let temp = tempfile::tempdir().unwrap();
    Store::open(temp.path()).unwrap().close().await;
    let now = Connection::open(temp.path().join("state.db")).unwrap();
    let known: u32 = now.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let known = known as usize;
    assert_eq!(known, RELEASED.len(), "a migration without a file in src/migrations, or the other way round");
    for version in 1..=known {
        let made = Connection::open_in_memory().unwrap();
        for (file, _) in &RELEASED[..version] {
            made.execute_batch(&std::fs::read_to_string(here("src/migrations").join(file)).unwrap()).unwrap();
        }
        let kept = Connection::open_in_memory().unwrap();
        kept.execute_batch(&fixture(version)).unwrap();
        assert_eq!(schema(&kept), schema(&made), "v{version}.sql is not of schema version {version}");
        let empty: Vec<_> = rows(&kept).into_iter().filter(|(_, count)| *count == 0).collect();
        assert_eq!(empty, [], "tables of v{version}.sql without a row");

        let dir = old(version);
        Store::open(dir.path()).unwrap().close().await;
        let migrated = Connection::open(dir.path().join("state.db")).unwrap();
        assert_eq!(
            schema(&migrated),
            schema(&now),
            "version {version} becomes another schema than a new one"
        );
        let kept_rows = rows(&kept);
        let migrated_rows = rows(&migrated);
        assert!(kept_rows.iter().all(|row| migrated_rows.get(row.0) == Some(row.1)), "{migrated_rows:?}");
    }
}

fn vm(n: u32) -> MachineId {
    MachineId::new(format!("m000000000{n}")).unwrap()
}

fn id(n: u32) -> JobId {
    JobId::new(format!("j000000000{n}")).unwrap()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + micros).unwrap()
}

/// The machine that version 1 and 2 both have, as version 1 wrote it.
fn first_machine() -> MachineRow {
    MachineRow {
        id: vm(1),
        pool: pool("default"),
        spec: None,
        shape: Shape { vcpus: 2, memory_mib: 512, disk_mib: 2048, ..shape() },
        state: MachineState::Busy,
        step: Step::Running,
        slot: 3,
        pid: Some(4242),
        start_ticks: Some(99_887_766),
        image: Some(Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap()),
        job: Some(id(2)),
        failure: Some(Failure { kind: FailureKind::Guest, message: "it broke".to_owned() }),
        phases: PhaseTimes::from([(Phase::Image, 0), (Phase::Net, 1500)]),
        created_at: at(0),
        state_since: at(1_000_000),
        held_until: None,
        hold_secs: None,
    }
}

/// A queued job without anything, with `more` over it.
fn record(id: &JobId, program: &Value, more: Value) -> JobRecord {
    let mut record = json!({
        "id": id, "spec": {"program": program}, "state": "queued", "attempt": 0, "pool": null, "machine": null,
        "cancel_requested": false, "outcome": null, "reason": null, "phases": {}, "notes": [],
        "usage": {"user_us": 0, "system_us": 0, "max_rss_kib": 0, "oom_kills": 0},
        "queued_at": at(0), "assigned_at": null, "started_at": null, "finished_at": null,
    });
    let Value::Object(more) = more else { panic!("not an object") };
    record.as_object_mut().unwrap().extend(more);
    serde_json::from_value(record).unwrap()
}

/// The job that version 1 and 2 both have.
fn full_spec() -> Value {
    json!({"name": "old", "image": "alpine", "program": {"script": {"text": "exit 3"}}, "env": [["A", "b"]],
        "labels": ["linux"], "vcpus": 1, "memory_mib": 256, "disk_mib": 512, "timeout_secs": 60, "user": "1000",
        "workdir": "/tmp", "files": [{"dest": "/x", "mode": 0o644, "size": 3}], "artifacts": ["/y"]})
}

/// And it can be written.
async fn goes_on(store: &Store) {
    let queued = store.queued().await.unwrap().len();
    store.insert_job(&job(50), &spec(), no_files(store, 50), 10).await.unwrap();
    assert_eq!(store.queued().await.unwrap().len(), queued + 1);
    let row = store.insert_machine(new_machine(50, 9)).await.unwrap();
    assert_eq!(row.slot, u32::from(store.machine(&vm(2)).await.unwrap().is_some()));
    store.set_drained(Some("still")).await.unwrap();
}

#[tokio::test]
async fn version_1_is_read_whole() {
    let temp = old(1);
    let store = Store::open(temp.path()).unwrap();

    assert_eq!(store.machines().await.unwrap(), [first_machine()]);
    let journal = [
        JournalEntry { step: Step::Created, detail: Value::Null, at: at(0) },
        // Then still a step of its own.
        JournalEntry { step: Step::Net, detail: Value::Null, at: at(400_000) },
        JournalEntry { step: Step::Spawn, detail: json!({"uid": 900_003}), at: at(500_000) },
    ];
    assert_eq!(store.journal_of(&vm(1)).await.unwrap(), journal);
    let pools = [PoolOverride { name: pool("default"), paused: true, scale: Some((2, 5)) }];
    assert_eq!(store.pools().await.unwrap(), pools);
    assert_eq!(store.drained().await.unwrap(), None);

    let queued = record(&id(3), &json!({"image": {"args": []}}), json!({}));
    let assigned = json!({"state": "assigned", "attempt": 2, "pool": "default", "machine": vm(1),
        "cancel_requested": true, "reason": "attempt 1 was lost", "phases": {"queued": 7}, "assigned_at": at(100_000)});
    let assigned = record(&id(2), &json!({"command": {"argv": ["true"]}}), assigned);
    let failed = json!({"spec": full_spec(), "state": "failed", "attempt": 1, "pool": "default", "machine": vm(9),
        "outcome": {"outcome": "exited", "code": 3}, "phases": {"queued": 7, "job": 8}, "notes": ["a note"],
        "usage": {"user_us": 1, "system_us": 2, "max_rss_kib": 3, "oom_kills": 0},
        "assigned_at": at(100_000), "started_at": at(200_000), "finished_at": at(300_000)});
    let failed = record(&id(1), &Value::Null, failed);
    assert_eq!(store.jobs(JobFilter::default()).await.unwrap(), [queued, assigned.clone(), failed]);

    assert_eq!(store.bound(&vm(1)).await.unwrap(), Some(assigned));
    assert_eq!(store.release_machine(&vm(1)).await.unwrap(), Release::Bound(id(2)));
    assert_eq!(store.standing(&vm(7)).await.unwrap(), Standing::Released);
    assert_eq!(store.standing(&vm(8)).await.unwrap(), Standing::Used);
    assert_eq!(store.standing(&vm(9)).await.unwrap(), Standing::Used);
    assert_eq!(store.standing(&vm(5)).await.unwrap(), Standing::Free);
    goes_on(&store).await;
}

#[tokio::test]
async fn version_2_is_read_whole() {
    let temp = old(2);
    let store = Store::open(temp.path()).unwrap();

    let held = MachineRow {
        spec: Some(PoolSpec {
            labels: [Label::new("linux").unwrap()].into_iter().collect(),
            on_failure: OnFailure::Hold { for_: std::time::Duration::from_secs(1800), max: 2 },
            // As it was then; the default is another by now.
            network: NetworkPolicy { max_connections: 0, ..NetworkPolicy::default() },
            ..pool_spec()
        }),
        state: MachineState::Held,
        step: Step::Hold,
        job: Some(id(1)),
        held_until: Some(at(1_800_000_000)),
        ..first_machine()
    };
    let fresh = MachineRow {
        id: vm(2),
        pool: pool("big"),
        shape: Shape { vcpus: 8, memory_mib: 4096, disk_mib: 8192, ..shape() },
        state: MachineState::Creating,
        step: Step::Created,
        slot: 0,
        pid: None,
        start_ticks: None,
        image: None,
        job: None,
        failure: None,
        phases: PhaseTimes::new(),
        created_at: at(2_000_000),
        state_since: at(2_000_000),
        ..first_machine()
    };
    assert_eq!(store.machines().await.unwrap(), [held, fresh]);
    let journal = [
        JournalEntry { step: Step::Created, detail: Value::Null, at: at(0) },
        JournalEntry { step: Step::Hold, detail: json!({"uid": 900_003}), at: at(500_000) },
    ];
    assert_eq!(store.journal_of(&vm(1)).await.unwrap(), journal);
    let pools = [
        PoolOverride { name: pool("big"), paused: true, scale: None },
        PoolOverride { name: pool("default"), paused: true, scale: Some((2, 5)) },
    ];
    assert_eq!(store.pools().await.unwrap(), pools);
    let drained = store.drained().await.unwrap().unwrap();
    assert_eq!((drained.since, drained.why.as_str()), (at(5_000_000), "new disks"));

    let queued = record(&id(5), &json!({"image": {"args": []}}), json!({}));
    let lost = json!({"spec": full_spec(), "state": "lost", "attempt": 2, "pool": "default", "machine": vm(1),
        "outcome": {"outcome": "lost", "reason": "gone"}, "reason": "attempt 2 of 2 was lost: gone",
        "phases": {"queued": 7, "job": 8}, "notes": ["a note"],
        "usage": {"user_us": 1, "system_us": 2, "max_rss_kib": 3, "oom_kills": 1},
        "assigned_at": at(100_000), "started_at": at(200_000), "finished_at": at(300_000),
        "autopsy": {"state": "busy", "step": "running", "vmm": "signal 9", "oom_kills": 1,
            "console_tail": "Out of memory\n"}});
    let lost = record(&id(1), &Value::Null, lost);
    assert_eq!(store.jobs(JobFilter::default()).await.unwrap(), [queued, lost]);
    for (machine, standing) in [(1, Standing::Used), (9, Standing::Used), (7, Standing::Released)] {
        assert_eq!(store.standing(&vm(machine)).await.unwrap(), standing);
    }
    goes_on(&store).await;
}

#[tokio::test]
async fn version_3_is_read_whole() {
    let temp = old(3);
    let store = Store::open(temp.path()).unwrap();

    let remote = json!({"forge": "github", "scope": "acme", "runner": "ci-0abcde-m0000000006", "runner_id": 23,
        "repository": "acme/widgets", "name": "build", "labels": ["linux"], "queued_at": at(0)});
    let runner = json!({"state": "assigned", "attempt": 1, "pool": "default", "machine": vm(6), "phases": {"queued": 7},
        "spec": {"program": {"image": {"args": []}}, "labels": ["linux"]}, "assigned_at": at(100_000), "remote": remote});
    let runner = record(&id(6), &Value::Null, runner);
    assert_eq!(store.job(&id(6)).await.unwrap(), Some(runner.clone()));
    assert_eq!(store.standing(&vm(6)).await.unwrap(), Standing::Bound(Box::new(runner)));
    assert_eq!(store.credential(&id(6)).await.unwrap().unwrap().expose(), "a one-job credential");
    assert_eq!(store.runner_key("another").await.unwrap(), "0abcde");
    let drained = store.drained().await.unwrap().unwrap();
    assert_eq!((drained.since, drained.why.as_str()), (at(5_000_000), "new disks"));
    goes_on(&store).await;
}

#[tokio::test]
async fn version_4_is_read_whole() {
    let temp = old(4);
    let store = Store::open(temp.path()).unwrap();
    let wanted = store.machine(&vm(3)).await.unwrap().unwrap();
    assert_eq!((wanted.state, wanted.job, wanted.hold_secs), (MachineState::Busy, Some(id(6)), Some(3600)));
    assert_eq!(store.machine(&vm(1)).await.unwrap().unwrap().hold_secs, None);
    goes_on(&store).await;
}
