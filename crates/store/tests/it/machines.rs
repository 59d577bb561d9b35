//! Machine rows: slots, journal, changes in one commit, overrides of pools.

use std::collections::BTreeSet;

use crate::common::*;
use fireactions_model::{Digest, Failure, FailureKind, MachineState, Phase, Step};
use fireactions_store::{MachineChange, Store, StoreError};
use serde_json::json;

#[tokio::test]
async fn slots_are_unique_small_and_reused() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let rows = futures(&store, 20).await;
    let slots: BTreeSet<u32> = rows.iter().map(|row| row.slot).collect();
    assert_eq!(slots, (0..20).collect());

    let freed = rows.iter().find(|row| row.slot == 7).unwrap();
    store.remove_machine(&freed.id).await.unwrap();
    store.remove_machine(&freed.id).await.unwrap();
    assert!(store.machine(&freed.id).await.unwrap().is_none());
    assert!(store.journal_of(&freed.id).await.unwrap().is_empty());
    assert_eq!(store.insert_machine(new_machine(100, 20)).await.unwrap().slot, 7);
    let error = store.insert_machine(new_machine(101, 20)).await.unwrap_err();
    assert!(matches!(error, StoreError::NoSlot(20)), "{error}");
    let zero = store.machines().await.unwrap().into_iter().find(|row| row.slot == 0).unwrap();
    store.remove_machine(&zero.id).await.unwrap();
    assert_eq!(store.insert_machine(new_machine(102, 20)).await.unwrap().slot, 0);
}

/// `count` machines inserted at the same time.
async fn futures(store: &Store, count: u64) -> Vec<fireactions_store::MachineRow> {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..count {
        let store = store.clone();
        tasks.spawn(async move { store.insert_machine(new_machine(n, 64)).await.unwrap() });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn a_row_survives_with_all_its_fields() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let id = machine(1);
    let new = store.insert_machine(new_machine(1, 8)).await.unwrap();
    assert_eq!((new.state, new.step), (MachineState::Creating, Step::Created));

    store.journal(&id, Step::Spawn, json!({"uid": 1000})).await.unwrap();
    let digest = Digest::new(format!("sha256:{}", "ab".repeat(32))).unwrap();
    let failure = |text: &str| Failure { kind: FailureKind::Guest, message: text.to_owned() };
    let change = MachineChange {
        step: Some((Step::Spawned, json!({"pid": 42}))),
        state: Some(MachineState::Booting),
        failure: Some(failure("first")),
        process: Some((42, 1 << 40)),
        image: Some(digest.clone()),
        job: Some(Some(job(9))),
        phases: Some([(Phase::Net, 1234), (Phase::Spawn, 5)].into()),
        held_until: Some(jiff::Timestamp::UNIX_EPOCH),
        hold_secs: Some(Some(60)),
    };
    let row = store.change_machine(&id, change).await.unwrap();
    let stopping = MachineChange {
        state: Some(MachineState::Stopping),
        failure: Some(failure("second")),
        job: Some(None),
        ..MachineChange::default()
    };
    store.change_machine(&id, stopping).await.unwrap();
    store.close().await;

    let store = Store::open(temp.path()).unwrap();
    let kept = store.machine(&id).await.unwrap().unwrap();
    assert_eq!(kept.state, MachineState::Stopping);
    assert_eq!(kept.step, Step::Spawned);
    assert_eq!((kept.pid, kept.start_ticks), (Some(42), Some(1 << 40)));
    assert_eq!(kept.image, Some(digest));
    assert_eq!(kept.job, None);
    assert_eq!(kept.failure, Some(failure("first")), "the first failure is the cause");
    assert_eq!(kept.phases, [(Phase::Net, 1234), (Phase::Spawn, 5)].into());
    assert_eq!((kept.held_until, kept.hold_secs), (Some(jiff::Timestamp::UNIX_EPOCH), Some(60)));
    let not_any_more = MachineChange { hold_secs: Some(None), ..MachineChange::default() };
    assert_eq!(store.change_machine(&id, not_any_more).await.unwrap().hold_secs, None);
    assert_eq!(kept.spec, Some(pool_spec()), "a machine keeps the pool that it was made for");
    assert_eq!(kept.created_at, new.created_at);
    assert!(kept.state_since >= row.state_since);
    assert_eq!(kept.view(None).step, Step::Spawned);
    let journal = store.journal_of(&id).await.unwrap();
    let steps: Vec<Step> = journal.iter().map(|entry| entry.step).collect();
    assert_eq!(steps, [Step::Created, Step::Spawn, Step::Spawned]);
    assert_eq!(journal[1].detail, json!({"uid": 1000}));
}

#[tokio::test]
async fn a_failing_call_undoes_itself_only() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    // Sent together, they share commits; every second one fails.
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let store = store.clone();
        tasks.spawn(async move { store.insert_machine(new_machine(n / 2, 64)).await.is_ok() });
    }
    let made = tasks.join_all().await.into_iter().filter(|made| *made).count();
    assert_eq!(made, 20);
    assert_eq!(store.machines().await.unwrap().len(), 20);
    let unknown = store.journal(&machine(77), Step::Net, json!(null)).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NoMachine(_)), "{unknown}");
    assert!(store.journal_of(&machine(77)).await.unwrap().is_empty());
}

#[tokio::test]
async fn pool_overrides_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    store.set_pool(&pool("b"), true, None).await.unwrap();
    store.set_pool(&pool("a"), false, Some((1, 3))).await.unwrap();
    store.set_pool(&pool("b"), true, Some((0, 9))).await.unwrap();
    store.set_pool(&pool("c"), true, None).await.unwrap();
    store.set_pool(&pool("c"), false, None).await.unwrap();
    store.close().await;

    let store = Store::open(temp.path()).unwrap();
    let kept: Vec<_> = store
        .pools()
        .await
        .unwrap()
        .into_iter()
        .map(|pool| (pool.name.to_string(), pool.paused, pool.scale))
        .collect();
    assert_eq!(kept, [("a".to_owned(), false, Some((1, 3))), ("b".to_owned(), true, Some((0, 9)))]);
}

#[tokio::test]
async fn a_drained_host_stays_drained() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    assert_eq!(store.drained().await.unwrap(), None);
    store.set_drained(None).await.unwrap();
    store.set_drained(Some("new disks")).await.unwrap();
    let first = store.drained().await.unwrap().unwrap();
    assert_eq!(first.why, "new disks");
    store.set_drained(Some("and a new kernel")).await.unwrap();
    store.close().await;

    let store = Store::open(temp.path()).unwrap();
    let second = store.drained().await.unwrap().unwrap();
    assert_eq!((second.since, second.why.as_str()), (first.since, "and a new kernel"));
    store.set_drained(None).await.unwrap();
    assert_eq!(store.drained().await.unwrap(), None);
    store.set_drained(Some("")).await.unwrap();
    assert!(store.drained().await.unwrap().unwrap().since > first.since);
}
