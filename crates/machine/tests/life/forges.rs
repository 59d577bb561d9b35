//! What becomes of machines and their jobs when a forge does not hear, or knows better than the program's exit.

use std::sync::atomic::Ordering;

use fireactions_model::{JobState, MachineState, Machines};

use crate::world::{World, holding, in_namespace, new, program, script};

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
