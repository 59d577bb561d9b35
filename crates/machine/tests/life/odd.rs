//! Guests that do what no sound one does: they are played.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fireactions_model::{
    Event, JobRecord, JobSpec, JobState, MachineId, MachineState, Machines, Phase, ShutdownMode, Step,
};
use fireactions_store::MachineChange;
use nix::sys::signal::Signal;
use tokio::sync::broadcast::Receiver;

use crate::world::{DEADLINE, World, holding, in_namespace, new, script};

/// Returns when a program has ended.
async fn program_ended(events: &mut Receiver<Event>) {
    let ended =
        async { while !matches!(events.recv().await.unwrap(), Event::Phase { phase: Phase::Job, .. }) {} };
    tokio::time::timeout(DEADLINE, ended).await.expect("the program ends");
}

/// A job whose program has ended well, and whose guest does not hand out what is to be taken out.
async fn withheld(world: &World) -> (JobRecord, MachineId) {
    let artifacts = ["/one", "/two", "/three"].map(str::to_owned).to_vec();
    let spec = JobSpec { artifacts, ..script("echo done; withhold; exit 0") };
    let mut events = world.parts.events.subscribe();
    let job = world.forge.submit(spec, vec![]).await.unwrap();
    let id = world.machines.create(new()).await.unwrap();
    program_ended(&mut events).await;
    (job, id)
}

/// The job succeeded all the same, each artifact has this note, and its slot is free.
async fn concluded(world: &World, job: &JobRecord, id: &MachineId, why: &str) {
    world.until("the machine's end", |w| w.machines.view(id).is_none()).await;
    let job = world.job(&job.id).await;
    assert_eq!((job.state, job.exit_code(), job.attempt), (JobState::Succeeded, Some(0), 1), "{job:?}");
    assert_eq!(world.output(&job.id).await, "done\n");
    let of: Vec<bool> = job
        .notes
        .iter()
        .zip(["/one", "/two", "/three"])
        .map(|(note, path)| note.starts_with(&format!("artifact {path}: ")))
        .collect();
    assert_eq!(of, [true; 3], "{:?}", job.notes);
    // The one that was under way may have been seen to fail before.
    assert!(job.notes[1..].iter().all(|note| note.contains(why)), "{:?}", job.notes);
    world.assert_nothing_left().await;
}

#[test]
fn artifacts_that_never_come_hold_no_machine_whose_vmm_died() {
    in_namespace(|| async {
        let world = World::played().await;
        let (job, id) = withheld(&world).await;
        World::kill(world.machines.view(&id).unwrap().pid.unwrap()).await;
        concluded(&world, &job, &id, "the VMM process ended under the job").await;
    });
}

#[test]
fn artifacts_that_never_come_hold_no_machine_that_is_killed() {
    in_namespace(|| async {
        let world = World::played().await;
        let (job, id) = withheld(&world).await;
        assert_eq!(world.machines.shutdown(ShutdownMode::Kill, Duration::ZERO).await, 0);
        concluded(&world, &job, &id, "shutdown.mode 'kill'").await;
    });
}

#[test]
fn artifacts_that_never_come_hold_no_machine_whose_job_is_cancelled() {
    in_namespace(|| async {
        let world = World::played().await;
        let (job, id) = withheld(&world).await;
        world.forge.cancel(&job.id).await.unwrap();
        // The program had ended by itself before: that is not made a cancellation of.
        concluded(&world, &job, &id, "the job was cancelled meanwhile").await;
    });
}

#[test]
fn a_job_that_is_cancelled_while_no_server_is_there_ends_in_order_under_the_next() {
    in_namespace(|| async {
        let mut world = World::played().await;
        let spec = JobSpec { artifacts: vec!["/one".to_owned()], ..script("echo begun; hang") };
        let job = world.forge.submit(spec, vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until_output(&job, "begun").await;
        let cancel = async |world: &World| drop(world.forge.cancel(&job).await.unwrap());
        assert_eq!(world.replaced(cancel).await.adopted, std::slice::from_ref(&id));
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let record = world.job(&job).await;
        assert_eq!((record.state, &record.notes), (JobState::Cancelled, &vec![]), "{record:?}");
        assert!(world.parts.store.artifact_path(&job, 0).exists(), "what it left is there");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_guest_that_does_not_end_its_program_at_the_deadline_is_not_held() {
    in_namespace(|| async {
        let world = World::played_with(holding()).await;
        let spec = JobSpec { timeout_secs: Some(1), ..script("echo begun; hang") };
        let job = world.forge.submit(spec, vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until_output(&job, "begun").await;
        world.signal(&id, Signal::SIGSTOP);
        let over = |w: &World| matches!(w.state(&id), None | Some(MachineState::Held));
        world.until("the machine's end", over).await;
        assert_eq!(world.state(&id), None, "its program may still run");
        let job = world.job(&job).await;
        assert_eq!(job.state, JobState::TimedOut, "{job:?}");
        assert!(job.notes[0].contains("is stopped by a signal (SIGSTOP)"), "{:?}", job.notes);
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_job_that_ran_is_never_begun_anew_in_a_guest_that_knows_nothing_of_it() {
    in_namespace(|| async {
        let mut world = World::played().await;
        let id = world.machines.create(new()).await.unwrap();
        world.until("ready", |w| w.state(&id) == Some(MachineState::Ready)).await;
        // The row says that the job runs, the guest that nothing was ever begun in it: so would one that was reset, or whose
        // place somebody took.
        let mut job = None;
        let away = async |world: &World| {
            let submitted = world.bind(&id, "echo once more").await;
            let change = MachineChange {
                state: Some(MachineState::Busy),
                step: Some((Step::Running, serde_json::Value::Null)),
                job: Some(Some(submitted.clone())),
                ..MachineChange::default()
            };
            world.parts.store.change_machine(&id, change).await.unwrap();
            job = Some(submitted);
        };
        assert_eq!(world.replaced(away).await.adopted, std::slice::from_ref(&id));
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.job(&job.unwrap()).await;
        let reason = job.reason.clone().unwrap_or_default();
        assert_eq!((job.state, job.attempt), (JobState::Queued, 1), "lost, and queued again: {job:?}");
        assert!(reason.contains("the guest does not know the job that ran in it"), "{reason}");
        assert_eq!(world.output(&job.id).await, "", "nothing ran");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_machine_whose_process_does_not_go_keeps_its_row_and_no_server_from_starting() {
    in_namespace(|| async {
        let mut world = World::played().await;
        let whole = world.machines.create(new()).await.unwrap();
        let stuck = world.machines.create(new()).await.unwrap();
        for id in [&whole, &stuck] {
            world.until("ready", |w| w.state(id) == Some(MachineState::Ready)).await;
        }
        let mut job = None;
        let pid = world.machines.view(&stuck).unwrap().pid.unwrap();
        let away = async |world: &World| {
            job = Some(world.bind(&stuck, "echo hello").await);
            World::kill(pid).await;
            world.resists.store(true, Ordering::SeqCst);
        };
        let recovered = world.replaced(away).await;
        assert_eq!((recovered.adopted, recovered.undone), (vec![whole.clone()], vec![]));
        let view = world.machines.view(&stuck).unwrap();
        assert_eq!(view.state, MachineState::Stopping);
        let why = view.failure.unwrap().message;
        assert!(why.contains("the VMM process could not be undone"), "{why}");
        assert!(world.parts.store.machine(&stuck).await.unwrap().is_some(), "its slot is taken");
        let job = job.unwrap();
        assert_eq!(
            world.job(&job).await.state,
            JobState::Assigned,
            "nobody hears of the loss before it is one"
        );
        assert!(world.machines.retire(&stuck, "a test").await.is_ok(), "it goes already");
        world.resists.store(false, Ordering::SeqCst);
        world.until("its end", |w| w.machines.view(&stuck).is_none()).await;
        // The loss is told, and the other one has the job.
        world.until_job(&job, JobState::Succeeded).await;
        assert_eq!(world.job(&job).await.attempt, 2);
        world.until("the other one's end", |w| w.machines.view(&whole).is_none()).await;
        world.assert_nothing_left().await;
    });
}
