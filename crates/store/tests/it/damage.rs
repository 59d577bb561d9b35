//! Damaged databases: found before anything is changed, and rebuilt from every row that is on a whole page.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::common::*;
use fireactions_model::{
    ImageRef, InputFile, JobId, JobRecord, JobState, MachineId, MachineState, Outcome, PhaseTimes, Report,
    RetryPolicy, Step, Usage,
};
use fireactions_store::{
    JobFilter, MachineChange, MachineRow, NewMachineRow, Rebuilt, Store, StoreError, check, rebuild,
};
use proptest::prelude::*;
use tempfile::TempDir;

const PAGE: usize = 4096;
const JOBS: u64 = 60;
const MACHINES: u64 = 25;

/// A text that is nowhere in the database but in the row of this job; in long rows, on each of their pages.
fn mark(n: u64) -> String {
    format!("mark-of-job-{n}-")
}

fn machine_mark(n: u64) -> String {
    format!("mark-of-machine-{n}/x")
}

/// A server's state after some work: jobs of every state, short and long, machines, all that there is.
async fn work(store: &Store) {
    for n in 0..MACHINES {
        let image = ImageRef::new(machine_mark(n)).unwrap();
        let shape = fireactions_model::Shape { image, ..shape() };
        let spec = fireactions_model::PoolSpec { shape: shape.clone(), ..pool_spec() };
        let row = NewMachineRow { id: machine(n), spec, shape, max_slots: 100 };
        store.insert_machine(row).await.unwrap();
        let change = MachineChange {
            state: Some(MachineState::Busy),
            step: Some((Step::Running, serde_json::json!({"pid": n}))),
            ..MachineChange::default()
        };
        store.change_machine(&machine(n), change).await.unwrap();
    }
    for n in 0..JOBS {
        let mut spec = spec();
        spec.name = Some(mark(n));
        if n % 5 == 0 {
            // Over several pages.
            spec.env = vec![("LONG".to_owned(), mark(n).repeat(30 * usize::try_from(n).unwrap() % 900))];
        }
        let mut files = store.stage(&job(n));
        if n % 10 == 0 {
            spec.files = vec![InputFile { dest: "/in".to_owned(), mode: 0o600, size: 5 }];
            files.put(&spec.files[0], b"bytes".as_slice()).await.unwrap();
        }
        store.insert_job(&job(n), &spec, files, 1000).await.unwrap();
    }
    for n in 0..MACHINES {
        store.bind(&job(n), &machine(n), &pool("p")).await.unwrap();
        if n % 4 != 0 {
            store.start_job(&job(n), &machine(n)).await.unwrap();
        }
        let outcome = match n % 4 {
            1 => Outcome::Exited { code: 0 },
            2 => Outcome::Lost { reason: "it died".to_owned() },
            _ => continue,
        };
        let report = Report {
            outcome,
            usage: Usage::default(),
            phases: PhaseTimes::new(),
            notes: vec!["a note".to_owned()],
            autopsy: None,
        };
        store.finish_job(&job(n), &machine(n), &report, RetryPolicy::default()).await.unwrap();
    }
    store.request_cancel(&job(JOBS - 1), "a test").await.unwrap();
    store.release_machine(&machine(900)).await.unwrap();
    store.set_pool(&pool("p"), true, Some((1, 2))).await.unwrap();
    store.set_drained(Some("a test")).await.unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server was stopped: all is in state.db.
    Clean,
    /// It was killed: some is in the write-ahead log only.
    Killed,
}

struct World {
    temp: TempDir,
    jobs: BTreeMap<JobId, JobRecord>,
    machines: BTreeMap<MachineId, MachineRow>,
}

impl World {
    /// A copy of a state that is made once.
    fn new(end: End) -> Self {
        static MADE: [OnceLock<World>; 2] = [OnceLock::new(), OnceLock::new()];
        let made = MADE[end as usize].get_or_init(|| Self::make(end));
        let temp = tempfile::tempdir().unwrap();
        copy(made.dir(), temp.path());
        Self { temp, jobs: made.jobs.clone(), machines: made.machines.clone() }
    }

    fn make(end: End) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let live = tempfile::tempdir().unwrap();
            let store = Store::open(live.path()).unwrap();
            work(&store).await;
            if end == End::Clean {
                let (jobs, machines) = rows(&store).await;
                store.close().await;
                return Self { temp: live, jobs, machines };
            }
            // The work so far in state.db, the rest in the log.
            let db = rusqlite::Connection::open(live.path().join("state.db")).unwrap();
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
            for n in JOBS..JOBS + 20 {
                let mut spec = spec();
                spec.name = Some(mark(n));
                store.insert_job(&job(n), &spec, no_files(&store, n), 1000).await.unwrap();
            }
            let (jobs, machines) = rows(&store).await;
            let temp = tempfile::tempdir().unwrap();
            copy(live.path(), temp.path());
            drop(db);
            store.close().await;
            Self { temp, jobs, machines }
        })
    }

    fn dir(&self) -> &Path {
        self.temp.path()
    }

    fn db(&self) -> PathBuf {
        self.dir().join("state.db")
    }

    fn damage(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.db()).unwrap();
        change(&mut bytes);
        fs::write(self.db(), bytes).unwrap();
    }

    /// The store is not opened, for this reason, and nothing has changed by trying.
    fn assert_refused(&self, why: &str) {
        let before = contents(self.dir());
        let error = Store::open(self.dir()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(why) && text.contains("state rebuild --config FILE"), "{text}");
        let checked = check(self.dir()).unwrap();
        assert!(checked.problems.iter().any(|problem| problem.contains(why)), "{checked:?}");
        assert_eq!(contents(self.dir()), before, "the refusal changed something");
    }

    /// Rebuilds, and looks at what is then there: jobs and machines as they were, or not at all.
    fn rebuild(&self) -> (Rebuilt, Vec<JobId>, Vec<MachineId>) {
        let rebuilt = rebuild(self.dir()).unwrap();
        let checked = check(self.dir()).unwrap();
        assert_eq!(checked.problems, Vec::<String>::new());
        assert_eq!((checked.jobs, checked.machines), (rebuilt.jobs, rebuilt.machines));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (jobs, machines) = runtime.block_on(async {
            let store = Store::open(self.dir()).unwrap();
            let found = rows(&store).await;
            for (id, job) in &found.0 {
                let bound = matches!(job.state, JobState::Assigned | JobState::Running);
                if bound {
                    let of_machine = store.bound(job.machine.as_ref().unwrap()).await.unwrap();
                    assert_eq!(of_machine.as_ref().map(|job| &job.id), Some(id));
                }
            }
            store.insert_job(&job(5000), &spec(), no_files(&store, 5000), 1000).await.unwrap();
            store.insert_machine(new_machine(5000, 1000)).await.unwrap();
            store.close().await;
            found
        });
        for (id, found) in &jobs {
            assert_eq!(Some(found), self.jobs.get(id));
        }
        for (id, found) in &machines {
            assert_eq!(Some(found), self.machines.get(id));
        }
        let lost_jobs = self.jobs.keys().filter(|id| !jobs.contains_key(*id)).cloned().collect();
        let lost_machines = self.machines.keys().filter(|id| !machines.contains_key(*id)).cloned().collect();
        (rebuilt, lost_jobs, lost_machines)
    }
}

async fn rows(store: &Store) -> (BTreeMap<JobId, JobRecord>, BTreeMap<MachineId, MachineRow>) {
    let jobs = store.jobs(JobFilter::default()).await.unwrap();
    let machines = store.machines().await.unwrap();
    let jobs = jobs.into_iter().map(|job| (job.id.clone(), job)).collect();
    (jobs, machines.into_iter().map(|row| (row.id.clone(), row)).collect())
}

/// The files as a killed server leaves them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "state.db-shm" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below, but SQLite's scratch memory and the pid in the lock.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (usize, u64)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            all.extend(contents(&entry.path()));
        } else if entry.file_name() != "state.db-shm" && entry.file_name() != "lock" {
            let bytes = fs::read(entry.path()).unwrap();
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            all.insert(entry.path(), (bytes.len(), hasher.finish()));
        }
    }
    all
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn number_of(id: &impl ToString, make: impl Fn(u64) -> String) -> u64 {
    (0..1000).find(|n| make(*n) == id.to_string()).unwrap()
}

#[test]
fn a_whole_database_is_rebuilt_whole() {
    for end in [End::Clean, End::Killed] {
        let world = World::new(end);
        let (rebuilt, jobs, machines) = world.rebuild();
        assert_eq!((jobs, machines, &rebuilt.lost), (vec![], vec![], &vec![]));
        assert!(rebuilt.set_aside.iter().all(|path| path.exists()));
        assert_eq!(rebuilt.set_aside.len(), if end == End::Clean { 1 } else { 2 });
        // The rest of the state came along.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(world.dir()).unwrap();
            assert_eq!(store.drained().await.unwrap().unwrap().why, "a test");
            assert_eq!(store.pools().await.unwrap()[0].scale, Some((1, 2)));
            assert_eq!(store.journal_of(&machine(3)).await.unwrap().len(), 2);
            assert_eq!(store.standing(&machine(900)).await.unwrap(), fireactions_store::Standing::Released);
            assert_eq!(store.standing(&machine(1)).await.unwrap(), fireactions_store::Standing::Used);
            assert_eq!(fs::read(store.input_path(&job(10), 0)).unwrap(), b"bytes");
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 100, ..ProptestConfig::default() })]

    /// Whichever pages are overwritten: no row is lost that is on other pages.
    #[test]
    fn rows_on_whole_pages_are_saved(
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        seed in any::<u64>(),
        first_too in any::<bool>(),
        zeros in any::<bool>(),
        killed in any::<bool>(),
    ) {
        let world = World::new(if killed { End::Killed } else { End::Clean });
        let mut overwritten = Vec::new();
        world.damage(|bytes| {
            let pages = bytes.len() / PAGE;
            let mut random = seed | 1;
            let first = first_too.then_some(0);
            for page in places.iter().map(|place| place.index(pages)).chain(first) {
                let page = &mut bytes[page * PAGE..(page + 1) * PAGE];
                overwritten.extend_from_slice(page);
                for byte in page {
                    // xorshift
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    *byte = if zeros { 0 } else { random.to_be_bytes()[0] };
                }
            }
        });
        let (rebuilt, jobs, machines) = world.rebuild();
        for id in jobs {
            let n = number_of(&id, |n| job(n).to_string());
            prop_assert!(contains(&overwritten, &mark(n)), "job {} was on whole pages: {:#?}", n, rebuilt);
            prop_assert!(!rebuilt.lost.is_empty());
        }
        for id in machines {
            let n = number_of(&id, |n| machine(n).to_string());
            prop_assert!(contains(&overwritten, &machine_mark(n)), "machine {} was on whole pages: {:#?}", n, rebuilt);
        }
    }

    /// However short it became.
    #[test]
    fn rows_before_the_end_of_a_shortened_file_are_saved(place in any::<prop::sample::Index>()) {
        let world = World::new(End::Clean);
        let mut gone = Vec::new();
        world.damage(|bytes| {
            let length = place.index(bytes.len());
            gone = bytes[length / PAGE * PAGE..].to_vec();
            bytes.truncate(length);
        });
        let (_, jobs, machines) = world.rebuild();
        for id in jobs {
            let n = number_of(&id, |n| job(n).to_string());
            prop_assert!(contains(&gone, &mark(n)), "job {} was there", n);
        }
        for id in machines {
            let n = number_of(&id, |n| machine(n).to_string());
            prop_assert!(contains(&gone, &machine_mark(n)), "machine {} was there", n);
        }
    }

    /// A few wrong bytes anywhere, also in the log: whatever comes of it can be opened.
    #[test]
    fn no_byte_makes_a_rebuild_fail(
        bytes_at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        in_log in any::<bool>(),
    ) {
        let world = World::new(End::Killed);
        let path = if in_log { world.dir().join("state.db-wal") } else { world.db() };
        let mut bytes = fs::read(&path).unwrap();
        for (place, byte) in &bytes_at {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        fs::write(&path, bytes).unwrap();
        match rebuild(world.dir()) {
            Ok(_) => {}
            // The byte that says how new, or whose, the database is.
            Err(StoreError::TooNew { .. } | StoreError::Foreign { .. }) => return Ok(()),
            Err(error) => panic!("{error}"),
        }
        prop_assert_eq!(check(world.dir()).unwrap().problems, Vec::<String>::new());
        drop(Store::open(world.dir()).unwrap());
    }
}

#[test]
fn a_zeroed_header_costs_nothing() {
    let world = World::new(End::Clean);
    world.damage(|bytes| bytes[..100].fill(0));
    world.assert_refused("does not begin like an SQLite database");
    let (_, jobs, machines) = world.rebuild();
    assert_eq!((jobs, machines), (vec![], vec![]));
}

#[test]
fn an_overwritten_page_is_found_at_the_start() {
    let world = World::new(End::Clean);
    let mut overwritten = Vec::new();
    world.damage(|bytes| {
        let place = (1..bytes.len() / PAGE).find(|n| {
            let page = &bytes[n * PAGE..(n + 1) * PAGE];
            page[0] == 13 && contains(page, &mark(1))
        });
        let page = &mut bytes[place.unwrap() * PAGE..][..PAGE];
        overwritten = page.to_vec();
        page.fill(0xa5);
    });
    world.assert_refused("");
    let (rebuilt, jobs, _) = world.rebuild();
    assert!(jobs.contains(&job(1)), "{jobs:?}");
    for id in jobs {
        // Each by name: from the index where it had no files, with its files where it had.
        let line = rebuilt.lost.iter().find(|line| line.contains(id.as_str())).unwrap();
        let n = number_of(&id, |n| job(n).to_string());
        if n % 10 == 0 {
            let (_, aside) = line.split_once("its files are kept in ").unwrap();
            assert_eq!(fs::read(Path::new(aside).join("in.0")).unwrap(), b"bytes");
        }
    }
    // No start takes them away.
    let before = contents(&world.dir().join("jobs"));
    drop(Store::open(world.dir()).unwrap());
    assert_eq!(contents(&world.dir().join("jobs")), before);
}

#[test]
fn a_missing_log_is_missed_only_after_a_crash() {
    let world = World::new(End::Killed);
    fs::remove_file(world.dir().join("state.db-wal")).unwrap();
    world.assert_refused("write-ahead log state.db-wal is gone");
    // Also when it was asked for twice, and by a check.
    world.assert_refused("write-ahead log state.db-wal is gone");
    let (_, jobs, machines) = world.rebuild();
    assert_eq!(machines, vec![]);
    let mut late: Vec<JobId> = (JOBS..JOBS + 20).map(job).collect();
    late.sort();
    assert_eq!(jobs, late, "only what came after the last checkpoint is lost");

    let clean = World::new(End::Clean);
    assert!(!clean.dir().join("state.db-wal").exists());
    drop(Store::open(clean.dir()).unwrap());
}

/// A start that fails after a crash, whatever for, leaves the log to the next one.
#[test]
fn a_start_that_fails_after_a_crash_loses_nothing() {
    let world = World::new(End::Killed);
    // Not a directory, so it cannot be removed as one.
    let left = world.dir().join("jobs/.new-left");
    fs::write(&left, "").unwrap();
    for _ in 0..2 {
        let error = Store::open(world.dir()).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
    }
    fs::remove_file(left).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(async { rows(&Store::open(world.dir()).unwrap()).await });
    assert_eq!(found, (world.jobs.clone(), world.machines.clone()));
}

#[test]
fn a_log_whose_beginning_is_damaged_is_not_taken_for_an_empty_one() {
    let world = World::new(End::Killed);
    let log = world.dir().join("state.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    bytes[10] ^= 1;
    fs::write(&log, bytes).unwrap();
    world.assert_refused("the beginning of its write-ahead log state.db-wal is damaged");
    let (_, jobs, machines) = world.rebuild();
    assert_eq!((jobs.len(), machines), (20, vec![]), "only what came after the last checkpoint is lost");
}

/// Pages of different age: the job's says that it waits, the attempt's that a machine had it.
#[test]
fn a_job_that_a_machine_had_after_its_row_was_written_is_lost_and_blocks_no_other() {
    let world = World::new(End::Clean);
    let db = rusqlite::Connection::open(world.db()).unwrap();
    let (old, behind) = (job(MACHINES), job(MACHINES + 1));
    db.execute(
        "INSERT INTO attempts (job, attempt, machine, pool, assigned_at)
         SELECT seq, attempt + 1, ?2, 'p', queued_at FROM jobs WHERE id = ?1",
        [old.as_str(), machine(500).as_str()],
    )
    .unwrap();
    drop(db);
    let rebuilt = rebuild(world.dir()).unwrap();
    assert!(rebuilt.lost.iter().any(|line| line.contains(old.as_str())), "{rebuilt:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(world.dir()).unwrap();
        let lost = store.job(&old).await.unwrap().unwrap();
        assert_eq!(lost.state, JobState::Lost);
        assert!(matches!(lost.outcome, Some(Outcome::Lost { .. })), "{lost:#?}");
        let bound = store.bind(&behind, &machine(501), &pool("p")).await.unwrap();
        assert!(matches!(bound, fireactions_store::Bind::Bound(_)), "{bound:?}");
        store.close().await;
    });
}

#[test]
fn an_empty_or_missing_database_is_refused_where_there_were_jobs() {
    let world = World::new(End::Clean);
    fs::write(world.db(), b"").unwrap();
    world.assert_refused("it is empty or gone, but there are files of 6 jobs");
    fs::remove_file(world.db()).unwrap();
    world.assert_refused("it is empty or gone, but there are files of 6 jobs");
    let (rebuilt, jobs, _) = world.rebuild();
    assert_eq!((rebuilt.jobs, jobs.len()), (0, usize::try_from(JOBS).unwrap()));
    let aside = rebuilt.lost.iter().filter(|line| line.contains("its files are kept in")).count();
    assert_eq!(aside, 6);

    let killed = World::new(End::Killed);
    fs::write(killed.db(), b"").unwrap();
    killed.assert_refused("its write-ahead log state.db-wal is there");
    let (_, jobs, _) = killed.rebuild();
    let late = (JOBS..JOBS + 20).filter(|n| !jobs.contains(&job(*n))).count();
    assert_eq!(late, 20, "what is in the log is saved");
}

#[test]
fn a_wrong_file_is_refused() {
    let world = World::new(End::Clean);
    fs::write(world.db(), b"PNG or so\n".repeat(5000)).unwrap();
    world.assert_refused("does not begin like an SQLite database");
    let rebuilt = rebuild(world.dir()).unwrap();
    assert_eq!((rebuilt.jobs, rebuilt.machines), (0, 0));
    assert!(rebuilt.lost[0].contains("are not readable"), "{rebuilt:?}");
    assert_eq!(fs::read(&rebuilt.set_aside[0]).unwrap().len(), 50_000);

    // Another program's database is not ours to rebuild.
    let world = World::new(End::Clean);
    fs::remove_file(world.db()).unwrap();
    let other = rusqlite::Connection::open(world.db()).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (x); PRAGMA application_id = 7; PRAGMA user_version = 3")
        .unwrap();
    drop(other);
    let before = contents(world.dir());
    assert!(matches!(rebuild(world.dir()), Err(StoreError::Foreign { found: 7, .. })));
    assert!(matches!(check(world.dir()), Err(StoreError::Foreign { found: 7, .. })));
    assert_eq!(contents(world.dir()), before);

    // Nor is a newer one.
    let world = World::new(End::Clean);
    let db = rusqlite::Connection::open(world.db()).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let before = contents(world.dir());
    assert!(matches!(rebuild(world.dir()), Err(StoreError::TooNew { found: 99, .. })));
    assert!(matches!(Store::open(world.dir()), Err(StoreError::TooNew { found: 99, .. })));
    assert_eq!(contents(world.dir()), before);
}

#[test]
fn rows_that_do_not_read_are_refused_and_left_out() {
    let world = World::new(End::Clean);
    let db = rusqlite::Connection::open(world.db()).unwrap();
    db.execute("UPDATE jobs SET spec = '{' WHERE id = ?", [job(7).as_str()]).unwrap();
    db.execute("UPDATE machines SET state = 'dancing' WHERE id = ?", [machine(3).as_str()]).unwrap();
    drop(db);
    world.assert_refused("of table machines is not readable: column state");
    let (rebuilt, jobs, machines) = world.rebuild();
    assert_eq!((jobs, machines), (vec![job(7)], vec![machine(3)]));
    for text in [job(7).to_string(), machine(3).to_string()] {
        assert!(
            rebuilt.lost.iter().any(|line| line.contains(&text) && line.contains("is not readable")),
            "{rebuilt:?}"
        );
    }
}

#[test]
fn a_rebuild_waits_for_no_server() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = Store::open(temp.path()).unwrap();
    for error in [rebuild(temp.path()).unwrap_err(), check(temp.path()).unwrap_err()] {
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        assert!(error.to_string().contains(&format!("process {} (", std::process::id())), "{error}");
    }
    runtime.block_on(store.close());
    assert!(rebuild(&temp.path().join("nowhere")).is_err());
}
