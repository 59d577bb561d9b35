//! What becomes of machines and their jobs when a forge does not hear, or knows better than the program's exit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fireactions_model::{Deadlines, JobState, MachineState, Machines, PoolSpec};
use nix::sys::signal::Signal;

use crate::world::{World, holding, in_namespace, new, program, script};

#[test]
fn a_forge_that_did_not_hear_that_a_job_runs_is_told_again() {
    in_namespace(|| async {
        let world = World::played().await;
        world.odd.unheard_starts.store(2, Ordering::SeqCst);
        let job = world.forge.submit(script("echo begun; hang"), vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until_job(&job, JobState::Running).await;
        world.forge.cancel(&job).await.unwrap();
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        assert_eq!(world.job(&job).await.state, JobState::Cancelled);
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_machine_whose_end_the_forge_did_not_hear_at_once_is_held_all_the_same() {
    in_namespace(|| async {
        let world = World::played_with(holding()).await;
        world.odd.unheard_ends.store(1, Ordering::SeqCst);
        let job = world.forge.submit(script("exit 1"), vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        let over = |w: &World| matches!(w.state(&id), None | Some(MachineState::Held));
        world.until("the job's end", over).await;
        assert_eq!(world.state(&id), Some(MachineState::Held), "{:?}", world.job(&job).await);
        assert_eq!(world.job(&job).await.state, JobState::Failed);
        world.machines.retire(&id, "a test").await.unwrap();
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_machine_whose_release_the_forge_did_not_hear_at_once_is_held_all_the_same() {
    in_namespace(|| async {
        let deadlines = Deadlines { silence: Duration::from_secs(2), ..Deadlines::default() };
        let world = World::played_with(PoolSpec { deadlines, ..holding() }).await;
        world.odd.unheard_releases.store(1, Ordering::SeqCst);
        let id = world.machines.create(new()).await.unwrap();
        world.until("ready", |w| w.state(&id) == Some(MachineState::Ready)).await;
        // Its agent says no more.
        let (link, _) = world.machines.link(&id).unwrap();
        let _mute = link.exec(program("mute")).await.unwrap();
        let over = |w: &World| matches!(w.state(&id), None | Some(MachineState::Held));
        world.until("the machine's failure", over).await;
        assert_eq!(world.state(&id), Some(MachineState::Held));
        world.machines.retire(&id, "a test").await.unwrap();
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        world.assert_nothing_left().await;
    });
}

#[test]
fn an_end_that_the_server_before_knew_is_judged_before_it_is_told() {
    in_namespace(|| async {
        let mut world = World::played().await;
        world.odd.kind_runners.store(true, Ordering::SeqCst);
        for dies_before in [true, false] {
            // The server ends while the forge thinks.
            world.odd.missing_verdicts.store(1, Ordering::SeqCst);
            let job = world.forge.submit(script("echo done; exit 0"), vec![]).await.unwrap().id;
            let id = world.machines.create(new()).await.unwrap();
            let asked = |w: &World| w.odd.missing_verdicts.load(Ordering::SeqCst) == 0;
            world.until("the forge to be asked", asked).await;
            // The guest does not outlive it, or says no more to the next one.
            let pid = world.machines.view(&id).unwrap().pid.unwrap();
            if dies_before {
                let recovered = world.replaced(async |_| World::kill(pid).await).await;
                assert_eq!(recovered.undone, std::slice::from_ref(&id));
            } else {
                let recovered = world.replaced(async |_| World::signal_to(pid, Signal::SIGSTOP)).await;
                assert_eq!(recovered.adopted, std::slice::from_ref(&id));
                World::signal_to(pid, Signal::SIGKILL);
            }
            world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
            let job = world.job(&job).await;
            assert_eq!((job.state, job.exit_code()), (JobState::Failed, Some(1)), "{dies_before}: {job:?}");
        }
        world.assert_nothing_left().await;
    });
}
