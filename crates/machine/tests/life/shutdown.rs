//! What becomes of machines that are, or would be, held when their server ends.

use std::time::Duration;

use fireactions_model::{CreateError, JobSpec, JobState, MachineState, Machines, ShutdownMode};

use crate::world::{DEADLINE, World, holding, in_namespace, new, script};

#[test]
fn a_server_that_waits_for_its_jobs_does_not_wait_for_held_machines() {
    in_namespace(|| async {
        let world = World::played_with(holding()).await;
        let job = world.forge.submit(script("exit 1"), vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until("held", |w| w.state(&id) == Some(MachineState::Held)).await;
        let hour = Duration::from_secs(3600);
        let ends = tokio::time::timeout(DEADLINE, world.machines.shutdown(ShutdownMode::Wait, hour)).await;
        assert_eq!(ends, Ok(0));
        assert_eq!(world.job(&job).await.state, JobState::Failed);
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_machine_that_fails_while_its_server_ends_is_not_held() {
    in_namespace(|| async {
        let world = World::played_with(holding()).await;
        let job = world.forge.submit(script("echo begun; wait; exit 1"), vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until_output(&job, "begun").await;
        let (link, _) = world.machines.link(&id).unwrap();
        let hour = Duration::from_secs(3600);
        let ends = tokio::time::timeout(DEADLINE, world.machines.shutdown(ShutdownMode::Wait, hour));
        let goes_on = async {
            // Both are polled in turn: the server has begun to end.
            assert_eq!(world.machines.create(new()).await, Err(CreateError::Closed));
            World::tell(&link).await;
        };
        let (ends, ()) = tokio::join!(ends, goes_on);
        assert_eq!(ends, Ok(0));
        assert_eq!(world.job(&job).await.state, JobState::Failed);
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_machine_that_was_killed_while_its_artifacts_were_taken_out_is_not_held() {
    in_namespace(|| async {
        let world = World::played_with(holding()).await;
        let spec = JobSpec { artifacts: vec!["/one".to_owned()], ..script("withhold; exit 3") };
        let job = world.forge.submit(spec, vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until_end_is_journaled(&id).await;
        assert_eq!(world.machines.shutdown(ShutdownMode::Kill, Duration::ZERO).await, 0);
        let job = world.job(&job).await;
        assert_eq!((job.state, job.exit_code()), (JobState::Failed, Some(3)), "{job:?}");
        world.assert_nothing_left().await;
    });
}
