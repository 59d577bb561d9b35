//! A machine's whole life for real: a microVM under emulation, a tap and rules in a network namespace of the test's
//! own, a job of the built-in queue, and nothing left.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod forges;
mod odd;
mod odd_forge;
mod odd_vmm;
mod shutdown;
mod sticky;
mod store;
mod templates;
mod world;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fireactions_guest_proto::Exit;
use fireactions_model::{FailureKind, JobSpec, JobState, MachineId, MachineState, Machines, Phase};
use fireactions_store::MachineChange;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use world::{World, holding, in_namespace, program, script};

#[test]
fn a_machine_runs_one_job_and_is_gone() {
    in_namespace(|| async {
        let world = World::new().await;
        let job = world.forge.submit(script("echo hello; exit 7"), vec![]).await.unwrap();
        let id = world.machine().await.id;
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.forge.get(&job.id).await.unwrap().unwrap();
        assert_eq!((job.state, job.exit_code()), (JobState::Failed, Some(7)), "{job:?}");
        assert_eq!(world.output(&job.id).await, "hello\n");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_ready_machine_retires_and_a_busy_one_does_not() {
    in_namespace(|| async {
        let world = World::new().await;
        let id = world.machine().await.id;
        world.until("ready", |w| w.machines.view(&id).is_some_and(|m| m.state == MachineState::Ready)).await;
        let job = world.forge.submit(script("read x < /dev/zero || sleep 2"), vec![]).await.unwrap();
        world.until("busy", |w| w.machines.view(&id).is_some_and(|m| m.state == MachineState::Busy)).await;
        assert!(world.machines.retire(&id, "a test").await.is_err());
        world.forge.cancel(&job.id).await.unwrap();
        world.until("the end", |w| w.machines.view(&id).is_none()).await;
        assert_eq!(world.forge.get(&job.id).await.unwrap().unwrap().state, JobState::Cancelled);

        let id = world.machine().await.id;
        world.until("ready", |w| w.machines.view(&id).is_some_and(|m| m.state == MachineState::Ready)).await;
        world.machines.retire(&id, "a test").await.unwrap();
        world.until("the end", |w| w.machines.view(&id).is_none()).await;
        world.assert_nothing_left().await;
    });
}

/// A job that somebody ends is asked to; one that its forge has as over is killed.
#[test]
fn a_program_whose_job_is_over_at_its_forge_is_not_asked_to_end() {
    in_namespace(|| async {
        let world = World::new().await;
        let deaf = "trap 'echo asked' TERM; echo begun; while :; do sleep 0.1; done";
        for is_over in [false, true] {
            world.odd.over.store(is_over, Ordering::SeqCst);
            let job = world.forge.submit(script(deaf), vec![]).await.unwrap().id;
            let id = world.machine().await.id;
            world.until_output(&job, "begun").await;
            world.forge.cancel(&job).await.unwrap();
            world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
            assert_eq!(world.job(&job).await.state, JobState::Cancelled);
            assert_eq!(world.output(&job).await.contains("asked"), !is_over, "over: {is_over}");
        }
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_running_job_goes_on_under_the_next_server() {
    in_namespace(|| async {
        let mut world = World::new().await;
        let text = "echo one; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo two; exit 7";
        let job = world.forge.submit(script(text), vec![]).await.unwrap().id;
        let id = world.machine().await.id;
        world.until_output(&job, "one").await;
        let pid = world.machines.view(&id).unwrap().pid;

        let recovered = world.replaced(async |_| {}).await;
        assert_eq!(
            (&recovered.adopted, &recovered.undone, &recovered.strays),
            (&vec![id.clone()], &vec![], &vec![])
        );
        assert_eq!(world.machines.view(&id).unwrap().pid, pid);
        world.until("the agent", |w| w.machines.link(&id).is_some()).await;
        assert!(world.machines.retire(&id, "a test").await.is_err(), "it has a job");
        let (link, _) = world.machines.link(&id).unwrap();
        link.put_file("/tmp/go", 0o644, 0, &b""[..]).await.unwrap();
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.job(&job).await;
        assert_eq!((job.state, job.exit_code(), job.attempt), (JobState::Failed, Some(7), 1), "{job:?}");
        assert_eq!(world.output(&job.id).await, "one\ntwo\n");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_job_that_ended_while_no_server_was_there_is_told_whole() {
    in_namespace(|| async {
        let mut world = World::new().await;
        let text = "echo one; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo two; seq 1 20000; exit 3";
        let submitted = Instant::now();
        let job = world.forge.submit(script(text), vec![]).await.unwrap().id;
        let id = world.machine().await.id;
        world.until_output(&job, "one").await;
        let mut ended = None;
        let away = async |world: &World| {
            world.end_job(&id).await;
            ended = Some(submitted.elapsed());
            // This is not the job's time.
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        assert_eq!(world.replaced(away).await.adopted, std::slice::from_ref(&id));
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.job(&job).await;
        assert_eq!((job.state, job.exit_code(), job.attempt), (JobState::Failed, Some(3), 1), "{job:?}");
        let whole: String = ["one".into(), "two".into()]
            .into_iter()
            .chain((1..=20_000).map(|n| n.to_string()))
            .map(|line: String| line + "\n")
            .collect();
        assert!(world.output(&job.id).await == whole, "the output is not whole, or not exactly once");
        let took = Duration::from_micros(job.phases[&Phase::Job]);
        let most = ended.unwrap();
        assert!(took <= most, "the job's own time, not the time until somebody looked: {took:?} of {most:?}");
        world.assert_nothing_left().await;
    });
}

#[test]
fn an_idle_machine_is_adopted_and_one_without_its_vmm_is_not() {
    in_namespace(|| async {
        let mut world = World::new().await;
        let (idle, dead) = (world.machine().await.id, world.machine().await.id);
        for id in [&idle, &dead] {
            world.until("ready", |w| w.state(id) == Some(MachineState::Ready)).await;
        }
        let pid = world.machines.view(&dead).unwrap().pid.unwrap();
        let recovered = world.replaced(async |_| World::kill(pid).await).await;
        assert_eq!((recovered.adopted, recovered.undone), (vec![idle.clone()], vec![dead]));
        let job = world.forge.submit(script("echo hello"), vec![]).await.unwrap().id;
        world.until("the machine's end", |w| w.machines.view(&idle).is_none()).await;
        assert_eq!(world.job(&job).await.state, JobState::Succeeded);
        world.assert_nothing_left().await;
    });
}

#[test]
fn the_machine_of_a_failed_job_is_held_over_a_restart_until_its_time_is_over() {
    in_namespace(|| async {
        let mut world = World::with(holding()).await;
        let job = world.forge.submit(script("echo broken; exit 1"), vec![]).await.unwrap().id;
        let id = world.machine().await.id;
        world.until("held", |w| w.state(&id) == Some(MachineState::Held)).await;
        assert_eq!(world.job(&job).await.state, JobState::Failed, "the forge does not wait for that");
        // There is room for one.
        let other = world.forge.submit(script("exit 1"), vec![]).await.unwrap().id;
        let second = world.machine().await.id;
        world.until("the second's end", |w| w.machines.view(&second).is_none()).await;
        assert_eq!(world.job(&other).await.state, JobState::Failed);

        assert_eq!(world.replaced(async |_| {}).await.adopted, std::slice::from_ref(&id));
        let view = world.machines.view(&id).unwrap();
        assert_eq!((view.state, view.failure.unwrap().kind), (MachineState::Held, FailureKind::Job));
        let (link, _) = world.machines.link(&id).expect("it can be looked into");
        let mut exec = link.exec(program("true")).await.unwrap();
        assert_eq!(exec.output.exit().await.unwrap(), Exit::Code(0));
        drop(exec);
        // The hour is over in a moment; while a server is there for it.
        let soon = Timestamp::now() + Duration::from_secs(2);
        let over = async |world: &World| {
            let change = MachineChange { held_until: Some(soon), ..MachineChange::default() };
            world.parts.store.change_machine(&id, change).await.unwrap();
        };
        assert_eq!(world.replaced(over).await.adopted, std::slice::from_ref(&id));
        world.until("its hold time is over", |w| w.machines.view(&id).is_none()).await;
        assert!(Timestamp::now() >= soon, "not before its time");
        world.assert_nothing_left().await;
    });
}

#[test]
fn work_that_was_bound_in_a_server_s_last_moment_is_not_forgotten() {
    in_namespace(|| async {
        let mut world = World::new().await;
        // The forge has bound a job, and the server is gone before the machine's row tells of it.
        let bind = async |world: &World, id: &MachineId| world.bind(id, "echo hello").await;
        let ready = async |world: &World| {
            let id = world.machine().await.id;
            world.until("ready", |w| w.state(&id) == Some(MachineState::Ready)).await;
            id
        };

        // The next server's pool wants the machine gone at once: it is not idle.
        let id = ready(&world).await;
        let mut job = None;
        world.replaced(async |world| job = Some(bind(world, &id).await)).await;
        assert!(world.machines.retire(&id, "a test").await.is_err(), "it has a job");
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        assert_eq!(world.job(&job.unwrap()).await.state, JobState::Succeeded);

        // Its VMM ends under the next server, before its agent has spoken.
        let id = ready(&world).await;
        let mut job = None;
        let away = async |world: &World| {
            world.signal(&id, Signal::SIGSTOP);
            job = Some(bind(world, &id).await);
        };
        assert_eq!(world.replaced(away).await.adopted, std::slice::from_ref(&id));
        world.signal(&id, Signal::SIGKILL);
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let told = world.job(&job.unwrap()).await;
        assert_eq!((told.state, told.attempt), (JobState::Queued, 1), "{told:?}");
        world.forge.cancel(&told.id).await.unwrap();

        // Its VMM ends before the next server.
        let id = ready(&world).await;
        let pid = world.machines.view(&id).unwrap().pid.unwrap();
        let mut job = None;
        let away = async |world: &World| {
            job = Some(bind(world, &id).await);
            World::kill(pid).await;
        };
        assert_eq!(world.replaced(away).await.undone, std::slice::from_ref(&id));
        let told = world.job(&job.unwrap()).await;
        assert_eq!((told.state, told.attempt), (JobState::Queued, 1), "{told:?}");
        assert!(told.autopsy.is_some(), "{told:?}");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_job_that_the_server_before_ended_is_told_as_what_it_was_ended_for() {
    in_namespace(|| async {
        let mut world = World::new().await;
        let run = async |world: &World, timeout: u64| {
            // It ends by the same signal while nobody is there, whether a server asked it to or not.
            let text = "trap 'echo asked' TERM; echo one; until [ -e /tmp/go ]; do sleep 0.1; done; \
                        trap - TERM; kill -TERM $$";
            let spec = JobSpec { timeout_secs: Some(timeout), ..script(text) };
            let job = world.forge.submit(spec, vec![]).await.unwrap().id;
            let id = world.machine().await.id;
            world.until_output(&job, "one").await;
            (job, id)
        };

        let (job, id) = run(&world, 60).await;
        world.forge.cancel(&job).await.unwrap();
        world.until_output(&job, "asked").await;
        world.replaced(async |world: &World| world.end_job(&id).await).await;
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        assert_eq!(world.job(&job).await.state, JobState::Cancelled);

        for (timeout, state) in [(1, JobState::TimedOut), (60, JobState::Failed)] {
            let (job, id) = run(&world, timeout).await;
            if state == JobState::TimedOut {
                world.until_output(&job, "asked").await;
            }
            world.replaced(async |world: &World| world.end_job(&id).await).await;
            world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
            assert_eq!(world.job(&job).await.state, state, "{:?}", world.job(&job).await);
        }
        world.assert_nothing_left().await;
    });
}
