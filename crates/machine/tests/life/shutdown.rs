//! What becomes of machines that are, or would be, held when their server ends.

use std::time::Duration;

use fireactions_model::{JobSpec, JobState, Machines, ShutdownMode};

use crate::world::{World, holding, in_namespace, new, script};

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
