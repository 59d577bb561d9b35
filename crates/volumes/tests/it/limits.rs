//! How much there may be.

use std::fs;
use std::time::Duration;

use fireactions_volumes::{Limits, VolumeError};

use crate::common::*;

fn keys(world: &World) -> Vec<String> {
    world.volumes.list().into_iter().map(|volume| volume.name.key).collect()
}

/// As much as a volume of these tests takes.
const TAKES: usize = 1 << 20;

#[test]
fn those_used_least_lately_go_for_a_new_one() {
    let world = World::new(Limits { total: 7 << 19, ..limits() });
    let full = vec![1; TAKES];
    for key in ["a", "b", "c"] {
        world.volumes.keep(&name("o", key), MIB, &world.disk(&full), writer("x")).unwrap();
    }
    assert!(world.found(&name("o", "a")).is_some());
    assert_eq!(keys(&world), ["a", "c", "b"]);
    world.volumes.keep(&name("o", "d"), MIB, &world.disk(&full), writer("x")).unwrap();
    assert_eq!(keys(&world), ["d", "a", "c"]);
    // Its own old content makes room for the new one.
    world.volumes.keep(&name("o", "c"), MIB, &world.disk(&full), writer("x")).unwrap();
    assert_eq!(keys(&world), ["c", "d", "a"]);

    let disk = world.disk(&vec![1; 4 * TAKES]);
    let error = world.volumes.keep(&name("o", "e"), MIB, &disk, writer("x")).unwrap_err();
    assert!(
        matches!(error, VolumeError::NoRoom { .. }) && error.to_string().contains("max_size_mib"),
        "{error}"
    );
    assert_eq!(keys(&world), ["c", "d", "a"], "nothing goes for what cannot be kept");
}

#[test]
fn what_is_to_stay_free_stays_free() {
    let world = World::new(limits());
    for key in ["a", "b"] {
        world.volumes.keep(&name("o", key), MIB, &world.disk(b"x"), writer("x")).unwrap();
    }
    // More than any disk has.
    let greedy =
        fireactions_volumes::Volumes::open(&world.root(), Limits { free: 1 << 60, ..limits() }).unwrap();
    let error = greedy.keep(&name("o", "a"), MIB, &world.disk(b"y"), writer("x")).unwrap_err();
    assert!(matches!(error, VolumeError::NoRoom { .. }), "{error}");
    let left: Vec<_> = greedy.list().into_iter().map(|volume| volume.name.key).collect();
    assert_eq!(left, ["a"], "the old content of what could not be kept stays");
    greedy.sweep();
    assert_eq!(greedy.list(), []);
    assert_eq!(files(&world.root()), Vec::<String>::new());
}

#[test]
fn what_nobody_uses_goes() {
    let world = World::new(limits());
    for key in ["a", "b", "c"] {
        world.volumes.keep(&name("o", key), MIB, &world.disk(&vec![1; TAKES]), writer("x")).unwrap();
    }
    world.volumes.sweep();
    assert_eq!(keys(&world).len(), 3);
    let cleaned = world.volumes.clean(Some((2 << 20) - 1), None);
    assert_eq!((cleaned.volumes, keys(&world)), (2, vec!["c".to_owned()]), "{cleaned:?}");

    // It lay unused while no server ran.
    for file in files(&world.root()).iter().filter(|name| *name != "volume.json") {
        let directory = fs::read_dir(world.root()).unwrap().next().unwrap().unwrap().path();
        let file = fs::File::open(directory.join(file)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    let volumes = fireactions_volumes::Volumes::open(&world.root(), limits()).unwrap();
    assert_eq!(volumes.clean(None, Some(Duration::from_secs(7200))).volumes, 0);
    assert_eq!(volumes.clean(None, Some(Duration::from_secs(1800))).volumes, 1);
}
