//! What is synced when.

use std::cell::Cell;

use fireactions_model::*;

use super::Outlives;
use crate::{MachineChange, NewMachineRow, Store};

thread_local! {
    /// What the last batch of this writer outlives.
    pub(super) static LAST: Cell<Option<Outlives>> = const { Cell::new(None) };
}

async fn last(store: &Store) -> Option<Outlives> {
    store.write(|_| Ok(LAST.get())).await.unwrap()
}

fn shape() -> Shape {
    Shape { image: ImageRef::new("a").unwrap(), vcpus: 1, memory_mib: 64, disk_mib: 64 }
}

fn pool() -> PoolSpec {
    PoolSpec { ..PoolSpec::new(PoolName::new("p").unwrap(), shape()) }
}

#[tokio::test]
async fn commits_are_synced_as_their_calls_need_it() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let pragma = |tx: super::Tx<'_>| {
        let synchronous: i64 = tx.db.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        let journal: String = tx.db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        Ok((synchronous, journal))
    };
    // 1 is NORMAL, 2 is FULL.
    for _ in 0..2 {
        assert_eq!(store.write(pragma).await.unwrap(), (2, "wal".to_owned()));
        assert_eq!(store.write_until_power_loss(pragma).await.unwrap(), (1, "wal".to_owned()));
    }
}

#[tokio::test]
async fn jobs_outlive_a_power_loss_and_machines_the_server() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let (job, machine) = (JobId::from_random([1; 8]), MachineId::from_random([1; 8]));
    let spec: JobSpec = serde_json::from_str(r#"{"program": {"command": {"argv": ["true"]}}}"#).unwrap();
    let report = Report {
        outcome: Outcome::Exited { code: 0 },
        usage: Usage::default(),
        phases: PhaseTimes::new(),
        notes: Vec::new(),
        autopsy: None,
    };

    let row = NewMachineRow { id: machine.clone(), spec: pool(), shape: shape(), max_slots: 4 };
    store.insert_machine(row).await.unwrap();
    assert_eq!(last(&store).await, Some(Outlives::Crash), "insert_machine");
    store.journal(&machine, Step::Net, serde_json::Value::Null).await.unwrap();
    assert_eq!(last(&store).await, Some(Outlives::Crash), "journal");
    store.change_machine(&machine, MachineChange::default()).await.unwrap();
    assert_eq!(last(&store).await, Some(Outlives::Crash), "change_machine");
    store.remove_machine(&machine).await.unwrap();
    assert_eq!(last(&store).await, Some(Outlives::Crash), "remove_machine");

    // Each after one that need not be synced.
    macro_rules! synced {
        ($call:expr) => {
            store.write_until_power_loss(|_| Ok(())).await.unwrap();
            $call.await.unwrap();
            assert_eq!(last(&store).await, Some(Outlives::PowerLoss), stringify!($call));
        };
    }
    let pool = pool().name;
    synced!(store.insert_job(&job, &spec, store.stage(&job), 10));
    synced!(store.bind(&job, &machine, &pool));
    synced!(store.start_job(&job, &machine));
    synced!(store.request_cancel(&job, "why"));
    synced!(store.finish_job(&job, &machine, &report, RetryPolicy::default()));
    synced!(store.add_phases(&job, &machine, &PhaseTimes::new()));
    synced!(store.release_machine(&machine));
    synced!(store.set_pool(&pool, true, None));
    synced!(store.set_drained(Some("why")));
    synced!(store.purge_jobs(jiff::Timestamp::MAX, 0));
    store.close().await;
}
