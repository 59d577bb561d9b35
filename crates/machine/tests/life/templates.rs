//! Machines as clones of a template: the first one boots, the others wake up; and whatever is wrong with a template
//! costs time, never a job.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fireactions_model::{
    InitMode, JobState, MachineId, MachineState, MachineView, Machines, PoolSpec, Spare, StartMode,
};

use crate::world::{World, in_namespace, new, pool, script};

fn cloned() -> PoolSpec {
    PoolSpec { start: StartMode::Snapshot, ..pool() }
}

/// The same with the image's own init: its template has a disk, too.
fn with_own_init() -> PoolSpec {
    PoolSpec { init: InitMode::Image, ..cloned() }
}

/// A machine that runs one job to its end; how it started.
async fn serves(world: &World) -> StartMode {
    let job = world.forge.submit(script("hostname; cat /proc/sys/kernel/random/boot_id"), vec![]);
    let job = job.await.unwrap().id;
    let MachineView { id, started, .. } = world.machine().await;
    world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
    let record = world.job(&job).await;
    assert_eq!((record.state, record.attempt), (JobState::Succeeded, 1), "{record:?}");
    assert!(world.output(&job).await.starts_with(id.as_str()), "{}", world.output(&job).await);
    started.expect("it says how it started")
}

fn templates(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.dir.path().join("images/templates")).unwrap();
    let found = entries.map(|entry| entry.unwrap().path());
    found.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.')).collect()
}

/// Waits until the template is there and its machine is gone.
async fn template(world: &World) -> PathBuf {
    world.until("a template", |w| templates(w).len() == 1).await;
    world.until("its machine's end", |w| fs::read_dir(w.dir.path().join("run")).unwrap().count() == 0).await;
    templates(world).remove(0)
}

#[test]
fn the_first_machine_boots_and_the_next_ones_are_its_template_s_clones() {
    in_namespace(|| async {
        let mut world = World::with(cloned()).await;
        assert_eq!(serves(&world).await, StartMode::Boot);
        let made = template(&world).await;
        assert_eq!(serves(&world).await, StartMode::Snapshot);

        // A clone goes on under the next server, and so does its template.
        let id = world.machine().await.id;
        world.until("ready", |w| w.state(&id) == Some(MachineState::Ready)).await;
        assert_eq!(world.replaced(async |_| {}).await.adopted, std::slice::from_ref(&id));
        let job = world.forge.submit(script("echo hello"), vec![]).await.unwrap().id;
        world.until("the clone's end", |w| w.machines.view(&id).is_none()).await;
        assert_eq!(world.job(&job).await.state, JobState::Succeeded);
        assert_eq!(serves(&world).await, StartMode::Snapshot);
        assert_eq!(templates(&world), [made]);
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_broken_template_is_thrown_away_and_its_machine_boots() {
    in_namespace(|| async {
        for file in ["state", "memory"] {
            // A world each: a template that failed is not made again for a while.
            let world = World::with(cloned()).await;
            serves(&world).await;
            let made = template(&world).await;
            let file = made.join(file);
            fs::write(&file, vec![0x5a; usize::try_from(fs::metadata(&file).unwrap().len() / 2).unwrap()])
                .unwrap();
            assert_eq!(serves(&world).await, StartMode::Boot, "{}", file.display());
            assert_eq!(templates(&world), Vec::<PathBuf>::new(), "{}", file.display());
            world
                .until("nothing more", |w| fs::read_dir(w.dir.path().join("run")).unwrap().count() == 0)
                .await;
            world.assert_nothing_left().await;
        }
    });
}

#[test]
fn another_agent_has_another_template() {
    in_namespace(|| async {
        let mut world = World::with(cloned()).await;
        serves(&world).await;
        let first = template(&world).await;
        // The same program with some bytes behind it, which no loader reads.
        let agent = world.dir.path().join("agent");
        let mut bytes = fs::read(&world.parts.settings.agent).unwrap();
        bytes.extend_from_slice(b"another version");
        fs::write(&agent, bytes).unwrap();
        let mut settings = (*world.parts.settings).clone();
        settings.agent = agent;
        world.parts.settings = settings.into();
        world.replaced(async |_| {}).await;
        assert_eq!(serves(&world).await, StartMode::Boot);
        world
            .until("another template in its place", |w| templates(w).iter().any(|path| *path != first))
            .await;
        world.until("only one", |w| templates(w).len() == 1).await;
        assert!(!first.exists());
        assert_eq!(serves(&world).await, StartMode::Snapshot);
    });
}

/// A template that waits for room, for hours perhaps, is nobody's reason to keep an image.
#[test]
fn an_image_is_removed_although_a_template_of_it_is_wanted() {
    in_namespace(|| async {
        let world = World::with(cloned()).await;
        world.machines.spare(Spare::default());
        assert_eq!(serves(&world).await, StartMode::Boot);
        let image = world.parts.images.list().await.unwrap().remove(0).digest;
        let removed = world.parts.images.remove(image.as_str(), &HashSet::new()).await;
        assert_eq!(removed.unwrap(), std::slice::from_ref(&image));
        // There is room: the one that was wanted is none any more, and the next machine's is made.
        world.machines.spare(Spare { vcpus: 8, memory_mib: 8192, machine_overhead_mib: 64 });
        assert_eq!(serves(&world).await, StartMode::Boot);
        template(&world).await;
        assert_eq!(serves(&world).await, StartMode::Snapshot);
        world.assert_nothing_left().await;
    });
}

/// A clone's id is its own although its guest was frozen as nobody.
#[test]
fn two_clones_at_once_are_two_machines() {
    in_namespace(|| async {
        let world = World::with(cloned()).await;
        serves(&world).await;
        template(&world).await;
        let mut ids: Vec<MachineId> = vec![];
        for _ in 0..2 {
            ids.push(world.machines.create(new()).await.unwrap());
        }
        let text = "hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id; ip -o link show eth0 | grep -o 'ether [^ ]*'; \
                    head -c 32 /dev/urandom | sha256sum";
        let mut said = vec![];
        for _ in 0..2 {
            let job = world.forge.submit(script(text), vec![]).await.unwrap().id;
            said.push(job);
        }
        for id in &ids {
            world.until("its end", |w| w.machines.view(id).is_none()).await;
        }
        let (a, b) = (world.output(&said[0]).await, world.output(&said[1]).await);
        assert_eq!((a.lines().count(), b.lines().count()), (5, 5), "{a}\n{b}");
        for (a, b) in a.lines().zip(b.lines()) {
            assert_ne!(a, b);
        }
        world.assert_nothing_left().await;
    });
}

#[test]
fn guests_of_a_template_that_find_no_timer_are_replaced_and_not_for_ever() {
    in_namespace(|| async {
        let mut pool = cloned();
        pool.kernel.args = "nolapic_timer".to_owned();
        let world = World::with(pool).await;
        let id = world.machines.create(new()).await.unwrap();
        // Each guest lives for a second at least.
        let mut guests = BTreeSet::new();
        world
            .until("three guests of the template, the last one's end", |w| {
                let run = fs::read_dir(w.dir.path().join("run")).unwrap();
                let here: Vec<_> = run.map(|entry| entry.unwrap().file_name()).collect();
                let ended = here.is_empty();
                guests.extend(here.into_iter().filter(|name| name.to_str() != Some(id.as_str())));
                guests.len() == 3 && ended
            })
            .await;
        // The machine's own guest has none either; it is the next machine that asks again, and that is too early.
        assert_eq!(world.machines.view(&id), None);
        let again = world.machines.create(new()).await.unwrap();
        world.until("its end", |w| w.machines.view(&again).is_none()).await;
        world.assert_nothing_left().await;
        assert_eq!(templates(&world), Vec::<PathBuf>::new());
    });
}

fn must(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Before there are threads: each is in the mount namespace of the one that starts it.
fn mount_apart() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    must(Command::new("mount").args(["--make-rprivate", "/"]));
}

/// So that it can be full.
fn mount_small(directory: &Path) {
    must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m", "none"]).arg(directory));
}

#[test]
fn a_frozen_disk_that_cannot_be_copied_costs_a_boot_and_one_that_is_gone_its_template() {
    in_namespace(|| async {
        mount_apart();
        let world = World::with(with_own_init()).await;
        mount_small(&world.dir.path().join("run"));
        assert_eq!(serves(&world).await, StartMode::Boot);
        let made = template(&world).await;
        assert_eq!(serves(&world).await, StartMode::Snapshot);

        // More than there is room for where machines are.
        let (disk, aside) = (made.join("scratch"), world.dir.path().join("aside"));
        must(Command::new("cp").arg("--sparse=always").args([&disk, &aside]));
        let file = fs::File::options().write(true).open(&disk).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![1; 64 << 20], 128 << 20).unwrap();
        // As often as a template that is to blame is given.
        for _ in 0..3 {
            assert_eq!(serves(&world).await, StartMode::Boot);
        }
        assert_eq!(templates(&world), std::slice::from_ref(&made), "it is not to blame");
        fs::rename(&aside, &disk).unwrap();
        assert_eq!(serves(&world).await, StartMode::Snapshot);

        fs::remove_file(&disk).unwrap();
        assert_eq!(serves(&world).await, StartMode::Boot);
        assert_eq!(templates(&world), Vec::<PathBuf>::new());
        world.assert_nothing_left().await;
    });
}
