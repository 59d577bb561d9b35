//! Disks that outlive their machines: whose are kept, and what a guest does that cannot use one.

use std::fs;

use fireactions_model::{
    ForgeName, ForgeRunner, GiteaRunner, GiteaScope, JobState, MachineId, MachineView, PoolForge, PoolSpec,
    StartMode, StickyDir,
};
use fireactions_volumes::{Name, Writer};

use crate::world::{World, in_namespace, pool, script};

fn with_sticky() -> PoolSpec {
    let sticky = vec![StickyDir { path: "/srv/cache".into(), key: "cache".into(), size_mib: 16 }];
    PoolSpec { sticky, ..pool() }
}

/// The same of one repository of a forge, which the built-in queue plays.
fn of_a_repository() -> PoolSpec {
    let runner = ForgeRunner::Gitea(GiteaRunner::new(GiteaScope::repository("acme", "app").unwrap()));
    let forge = Some(PoolForge { name: ForgeName::new("work").unwrap(), runner });
    PoolSpec { forge, ..with_sticky() }
}

/// Who has left what there is.
fn writers(world: &World) -> Vec<String> {
    let volumes = world.parts.volumes.as_ref().unwrap();
    volumes
        .list()
        .into_iter()
        .map(|volume| format!("{} by {}", volume.name.owner, volume.writer.job))
        .collect()
}

async fn until_gone(world: &World, id: &MachineId) {
    world.until("the machine's end", |w| w.machines.view(id).is_none()).await;
}

/// A played job of a repository's pool, of which its forge says `word` while it runs.
async fn of_word(world: &World, text: &str, word: impl FnOnce(&MachineId)) {
    let job = world.forge.submit(script(text), vec![]).await.unwrap().id;
    let MachineView { id, .. } = world.machine().await;
    let (link, _) = world.machines.link(&id).unwrap();
    world.until_output(&job, "begun").await;
    word(&id);
    World::tell(&link).await;
    until_gone(world, &id).await;
    world.parts.volumes.as_ref().unwrap().words().end(&id);
}

#[test]
fn only_the_forge_s_word_and_success_let_a_repository_s_job_keep_anything() {
    in_namespace(|| async {
        let world = World::played_with(of_a_repository()).await;
        let volumes = world.parts.volumes.clone().unwrap();
        let words = volumes.words();
        let may = |job: &str| Some(Writer { job: job.into(), owner: 7 });
        let succeeds = "echo begun; wait";
        of_word(&world, succeeds, |_| {}).await;
        assert_eq!(writers(&world), Vec::<String>::new(), "nobody has said whose it was");
        of_word(&world, succeeds, |id| words.expect(id)).await;
        assert_eq!(writers(&world), Vec::<String>::new(), "the word came too late");
        of_word(&world, succeeds, |id| {
            words.expect(id);
            words.tell(id, may("a push"));
        })
        .await;
        let pushed = ["work/acme/app by a push"];
        assert_eq!(writers(&world), pushed);
        of_word(&world, succeeds, |id| {
            words.expect(id);
            words.tell(id, None);
        })
        .await;
        assert_eq!(writers(&world), pushed, "a pull request of a fork keeps nothing");
        of_word(&world, "echo begun; wait; exit 1", |id| {
            words.expect(id);
            words.tell(id, may("a push that failed"));
        })
        .await;
        assert_eq!(writers(&world), pushed, "a job that failed keeps nothing");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_volume_that_no_guest_can_mount_is_thrown_away_and_its_job_is_told() {
    in_namespace(|| async {
        let world = World::with(with_sticky()).await;
        let volumes = world.parts.volumes.clone().unwrap();
        // A guest was root on it.
        let broken = world.dir.path().join("broken");
        let file = fs::File::create(&broken).unwrap();
        file.set_len(16 << 20).unwrap();
        let name = Name { owner: "pool/p".into(), key: "cache".into() };
        volumes.keep(&name, 16, &broken, Writer { job: "somebody".into(), owner: 0 }).unwrap();

        let job = world.forge.submit(script("ls -A /srv/cache; echo x >/srv/cache/x; echo went on"), vec![]);
        let job = job.await.unwrap().id;
        let MachineView { id, .. } = world.machine().await;
        until_gone(&world, &id).await;
        assert_eq!(world.job(&job).await.state, JobState::Succeeded);
        let output = world.output(&job).await;
        let says = "fireactions: what the last job left in /srv/cache cannot be used, and it begins anew: its disk cannot be mounted";
        assert!(output.contains(says) && output.contains("went on\n"), "{output}");
        assert_eq!(writers(&world), Vec::<String>::new());
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_clone_has_a_copy_of_its_own_and_its_template_has_none() {
    in_namespace(|| async {
        let world = World::with(PoolSpec { start: StartMode::Snapshot, ..with_sticky() }).await;
        let templates = world.dir.path().join("images/templates");
        let mut found = Vec::new();
        for line in ["one", "two", "three"] {
            let text = format!(
                "cat /srv/cache/f 2>/dev/null || true; echo {line} >>/srv/cache/f; stat -c %a /srv/cache"
            );
            let job = world.forge.submit(script(&text), vec![]).await.unwrap().id;
            let MachineView { id, started, .. } = world.machine().await;
            until_gone(&world, &id).await;
            assert_eq!(world.job(&job).await.state, JobState::Succeeded);
            found.push((started, world.output(&job).await));
            world
                .until("a template", |_| {
                    fs::read_dir(&templates).is_ok_and(|mut all| {
                        all.any(|entry| !entry.unwrap().file_name().to_string_lossy().starts_with('.'))
                    })
                })
                .await;
            world
                .until("its machine's end", |w| fs::read_dir(w.dir.path().join("run")).unwrap().count() == 0)
                .await;
        }
        let (boot, clone) = (Some(StartMode::Boot), Some(StartMode::Snapshot));
        let nothing = "755\n".to_owned();
        assert_eq!(found, [(boot, nothing), (clone, "one\n755\n".into()), (clone, "one\ntwo\n755\n".into())]);
        world.assert_nothing_left().await;
    });
}
