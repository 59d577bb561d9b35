//! What files say about when they were used last, to a server that starts.

use std::time::{Duration, SystemTime};

use crate::common::*;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn while_no_server_runs_the_time_of_day_counts() {
    let world = World::of_files().await;
    world.main_job(1, "o/r").save("k", b"content").await;
    world.clock.pass(DAY * 6);
    let world = world.restart().await;
    assert_eq!(world.cache.entries().len(), 1, "it was used six days ago");
    world.clock.pass(DAY * 2);
    let world = world.restart().await;
    assert_eq!(world.cache.entries().len(), 0);
    assert_eq!(files(&world.root().join("entries")), []);
}

#[tokio::test]
async fn a_file_of_a_time_to_come_was_used_now() {
    let world = World::of_files().await;
    world.main_job(1, "o/r").save("k", b"content").await;
    let (path, _) = files(&world.root().join("entries")).pop().unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() + DAY * 4000).unwrap();
    let world = world.restart().await;
    world.clock.pass(DAY * 6);
    world.cache.sweep();
    assert_eq!(world.cache.entries().len(), 1);
    world.clock.pass(DAY * 2);
    world.cache.sweep();
    assert_eq!(world.cache.entries().len(), 0);
}
