//! What becomes of machines and their jobs when the state store does not answer, or the host's clock is set.

use std::time::Duration;

use fireactions_model::{
    CreateError, JobId, JobSpec, JobState, MachineId, MachineState, Machines, ShutdownMode,
};
use nix::sys::signal::Signal;

use crate::world::{World, in_namespace, new, script};

/// A job whose program has ended, as the journal has it, and whose guest does not hand out its artifact.
async fn withheld(world: &World) -> (JobId, MachineId) {
    let spec = JobSpec { artifacts: vec!["/one".to_owned()], ..script("echo done; withhold; exit 0") };
    let job = world.forge.submit(spec, vec![]).await.unwrap().id;
    let id = world.machines.create(new()).await.unwrap();
    world.until_end_is_journaled(&id).await;
    (job, id)
}

#[test]
fn work_that_was_bound_is_not_forgotten_because_the_store_did_not_answer() {
    in_namespace(|| async {
        let mut world = World::played().await;
        let id = world.machines.create(new()).await.unwrap();
        world.until("ready", |w| w.state(&id) == Some(MachineState::Ready)).await;
        // The server before has bound a job, of which the machine's row does not tell.
        let mut job = None;
        let away = async |world: &World| {
            world.signal(&id, Signal::SIGSTOP);
            job = Some(world.bind(&id, "echo hello").await);
        };
        assert_eq!(world.replaced(away).await.adopted, std::slice::from_ref(&id));
        // Its VMM dies while somebody holds the database's lock, for longer than a statement waits.
        let database = world.database();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        world.signal(&id, Signal::SIGKILL);
        let directory = world.parts.settings.run_dir.join(id.as_str());
        world.until("its disk to be free", |_| !directory.exists()).await;
        database.execute_batch("ROLLBACK").unwrap();
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.job(&job.unwrap()).await;
        assert_eq!((job.state, job.attempt), (JobState::Queued, 1), "lost, and queued again: {job:?}");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_row_that_is_written_late_has_its_machine() {
    in_namespace(|| async {
        let world = World::played().await;
        let database = world.database();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let patience = Duration::from_millis(100);
        assert!(tokio::time::timeout(patience, world.machines.create(new())).await.is_err());
        database.execute_batch("ROLLBACK").unwrap();
        // Reads see what was written before them.
        world.parts.store.alive().await.unwrap();
        world.until("the machine", |w| !w.machines.views().is_empty()).await;
        let ids = world.machines_with_rows().await;
        world.until("ready", |w| w.state(&ids[0]) == Some(MachineState::Ready)).await;
        world.machines.retire(&ids[0], "a test").await.unwrap();
        world.until("the end", |w| w.machines.views().is_empty()).await;
        world.assert_nothing_left().await;
    });
}

#[test]
fn no_machine_is_begun_once_all_were_ended() {
    in_namespace(|| async {
        let mut world = World::played().await;
        let database = world.database();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let machines = world.machines.clone();
        let creating = tokio::spawn(async move { machines.create(new()).await });
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(world.machines.shutdown(ShutdownMode::Leave, Duration::ZERO).await, 0);
        database.execute_batch("ROLLBACK").unwrap();
        assert_eq!(creating.await.unwrap(), Err(CreateError::Closed));
        assert_eq!(world.machines.views(), [], "its row is the next server's");
        assert_eq!(world.replaced(async |_| {}).await.undone.len(), 1);
        world.assert_nothing_left().await;
    });
}

#[test]
fn an_outcome_that_is_known_outlives_server_and_guest_although_artifacts_are_still_to_come() {
    in_namespace(|| async {
        let mut world = World::played().await;
        let (job, id) = withheld(&world).await;
        // The host is rebooted in order: the server leaves its machines, which do not outlive it.
        let pid = world.machines.view(&id).unwrap().pid.unwrap();
        assert_eq!(world.replaced(async |_| World::kill(pid).await).await.undone, std::slice::from_ref(&id));
        let job = world.job(&job).await;
        assert_eq!((job.state, job.exit_code(), job.attempt), (JobState::Succeeded, Some(0), 1), "{job:?}");
        let note = "artifact /one: the machine was gone before all artifacts were copied out";
        assert_eq!(job.notes, [note]);
        assert_eq!(world.output(&job.id).await, "done\n");
        world.assert_nothing_left().await;
    });
}

#[test]
fn an_outcome_that_is_known_stands_although_the_guest_hangs_under_the_next_server() {
    in_namespace(|| async {
        let mut world = World::played().await;
        let (job, id) = withheld(&world).await;
        // Its agent says no more to the next server, and then its VMM dies.
        let away = async |world: &World| world.signal(&id, Signal::SIGSTOP);
        assert_eq!(world.replaced(away).await.adopted, std::slice::from_ref(&id));
        world.signal(&id, Signal::SIGKILL);
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.job(&job).await;
        assert_eq!((job.state, job.exit_code(), job.attempt), (JobState::Succeeded, Some(0), 1), "{job:?}");
        world.assert_nothing_left().await;
    });
}

#[test]
fn an_outcome_that_is_known_stands_although_the_job_is_cancelled_while_no_server_is_there() {
    in_namespace(|| async {
        let mut world = World::played().await;
        let (job, id) = withheld(&world).await;
        let cancel = async |world: &World| drop(world.forge.cancel(&job).await.unwrap());
        assert_eq!(world.replaced(cancel).await.adopted, std::slice::from_ref(&id));
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.job(&job).await;
        assert_eq!((job.state, job.exit_code(), job.attempt), (JobState::Succeeded, Some(0), 1), "{job:?}");
        assert_eq!(world.output(&job.id).await, "done\n");
        world.assert_nothing_left().await;
    });
}

/// Sets the clock two hours forward, as it seems to the next server, after this was done to the database.
async fn clock_is_set(world: &mut World, as_journaled: &str) {
    let spec = JobSpec { timeout_secs: Some(600), ..script("echo one; sleep 5; echo two; exit 0") };
    let job = world.forge.submit(spec, vec![]).await.unwrap().id;
    let id = world.machines.create(new()).await.unwrap();
    world.until_output(&job, "one").await;
    // Two hours lie between the row's time and the clock on the wall.
    let set = async |world: &World| {
        let (database, two_hours) = (world.database(), 7_200_000_000_i64);
        database.execute_batch(as_journaled).unwrap();
        let changed = "UPDATE machines SET state_since = state_since - ?1";
        assert_eq!(database.execute(changed, [two_hours]).unwrap(), 1);
    };
    assert_eq!(world.replaced(set).await.adopted, std::slice::from_ref(&id));
    world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
    let job = world.job(&job).await;
    assert_eq!((job.state, job.exit_code()), (JobState::Succeeded, Some(0)), "{job:?}");
    world.assert_nothing_left().await;
}

#[test]
fn a_clock_that_was_set_forward_takes_no_time_from_a_running_job() {
    in_namespace(|| async { clock_is_set(&mut World::played().await, "").await });
}

#[test]
fn a_clock_that_was_set_forward_takes_no_time_from_a_job_that_was_only_asked_for() {
    let asked = "DELETE FROM journal WHERE step = 'running';
         UPDATE machines SET state = 'starting', step = 'run'";
    in_namespace(|| async { clock_is_set(&mut World::played().await, asked).await });
}
