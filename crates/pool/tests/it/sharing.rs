//! How a forge's jobs are shared: the sum is right whatever was heard late, and no job has a runner twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fireactions_model::{AssignedJobs, ClusterHost, ImageRef, Labels, PoolName, Shape};
use fireactions_pool::{Budget, Counted, Place, PlacePool, Runners, Sharer, Sharing, share};
use proptest::prelude::*;

fn pool() -> PoolName {
    PoolName::new("fast").unwrap()
}

fn shape() -> Shape {
    Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 2, memory_mib: 1024, disk_mib: 1024 }
}

fn name(host: usize) -> ClusterHost {
    ClusterHost::new(format!("h{host}")).unwrap()
}

/// A host with room for so many more machines, with these runners, that was given so many to make which were not seen yet.
fn sharer(host: usize, room: u32, runners: Runners, pending: u32) -> Sharer {
    Sharer {
        place: Place {
            host: name(host),
            zone: None,
            labels: Labels::default(),
            room: Budget { vcpus: 0, memory_mib: 0, machine_overhead_mib: 0 },
            is_full: false,
            pools: BTreeMap::from([(pool(), PlacePool { room, shapes: BTreeMap::new() })]),
        },
        runners: BTreeMap::from([(pool(), runners)]),
        pending: BTreeMap::from([(pool(), pending)]),
    }
}

fn counted(jobs: u32) -> [Counted; 1] {
    [Counted { pool: pool(), shape: shape(), jobs }]
}

fn assigned(all: u32, running: u32) -> AssignedJobs {
    AssignedJobs { all, running, held_back: 0 }
}

fn given(sharing: &Sharing, host: usize) -> AssignedJobs {
    sharing.given.get(&name(host)).and_then(|pools| pools.get(&pool())).copied().unwrap_or_default()
}

const fn runners(idle: u32, busy: u32) -> Runners {
    Runners { idle, busy }
}

#[test]
fn jobs_without_a_runner_go_where_there_is_room_and_the_rest_to_nobody() {
    let hosts = [sharer(0, 2, runners(0, 1), 0), sharer(1, 1, runners(0, 0), 0)];
    let sharing = share(&counted(6), &hosts);
    assert_eq!(given(&sharing, 0), assigned(3, 1));
    assert_eq!(given(&sharing, 1), assigned(1, 0));
    assert_eq!(sharing.unplaced, BTreeMap::from([(pool(), 2)]));
}

#[test]
fn a_host_keeps_what_it_was_given_and_has_no_runner_for_yet() {
    // The other has more room, and the first has begun its machines.
    let hosts = [sharer(0, 4, runners(0, 3), 2), sharer(1, 9, runners(0, 0), 0)];
    let sharing = share(&counted(5), &hosts);
    assert_eq!((given(&sharing, 0).all, given(&sharing, 1).all), (5, 0));
    // One that has no room any more does not.
    let hosts = [sharer(0, 0, runners(0, 3), 2), sharer(1, 9, runners(0, 0), 0)];
    let sharing = share(&counted(5), &hosts);
    assert_eq!((given(&sharing, 0).all, given(&sharing, 1).all), (3, 2));
}

#[test]
fn runners_that_no_job_is_there_for_are_told_where_most_are_idle() {
    let hosts = [sharer(0, 4, runners(3, 1), 0), sharer(1, 4, runners(1, 1), 0)];
    let sharing = share(&counted(3), &hosts);
    assert_eq!(given(&sharing, 0), assigned(2, 1));
    assert_eq!(given(&sharing, 1), assigned(1, 1));
    // A runner with a job stays, whatever is counted.
    let sharing = share(&counted(0), &hosts);
    assert_eq!((given(&sharing, 0).all, given(&sharing, 1).all), (1, 1));
    assert_eq!(share(&counted(0), &[sharer(0, 4, runners(0, 0), 0)]), Sharing::default());
}

/// A host as it is, which is not what others know of it. Its runners have numbers in the order in which they were made.
#[derive(Debug, Clone, Default)]
struct Actual {
    idle: VecDeque<u32>,
    busy: VecDeque<u32>,
    /// Runners whose job has ended, as the host does not know from the forge yet.
    over: VecDeque<u32>,
    made: u32,
    /// What it was told last.
    all: u32,
    /// What it has told and was not heard yet.
    told: VecDeque<Told>,
    /// What was heard of it last.
    heard: Told,
    /// Runners whose end the forge has told the host that listens.
    words: BTreeSet<u32>,
    /// What it was given last beside its runners, and the runners that had been heard of by then.
    given: u32,
    known: BTreeSet<u32>,
}

/// Its runners, as a host tells of them.
#[derive(Debug, Clone, Default)]
struct Told {
    idle: BTreeSet<u32>,
    busy: BTreeSet<u32>,
}

impl Actual {
    fn covering(&self) -> u32 {
        u32::try_from(self.idle.len() + self.busy.len() + self.over.len()).unwrap()
    }

    fn told(&self) -> Told {
        let busy = self.busy.iter().chain(&self.over).copied().collect();
        Told { idle: self.idle.iter().copied().collect(), busy }
    }

    /// What was heard of it, read with the forge's words in mind.
    fn runners(&self) -> Runners {
        let busy = self.heard.busy.difference(&self.words).count();
        runners(
            u32::try_from(self.heard.idle.difference(&self.words).count()).unwrap(),
            u32::try_from(busy).unwrap(),
        )
    }

    fn heard_of(&self) -> BTreeSet<u32> {
        self.heard.idle.iter().chain(&self.heard.busy).chain(&self.words).copied().collect()
    }

    fn pending(&self) -> u32 {
        let fresh = self.heard_of().difference(&self.known).count();
        self.given.saturating_sub(u32::try_from(fresh).unwrap())
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A job is queued.
    Queue,
    /// A host makes a runner, if it lacks one.
    Make(usize),
    /// The forge gives an idle runner of this host a job.
    Begin(usize),
    /// A job of this host ends, and the host knows.
    End(usize),
    /// The forge says so: with its count.
    TellEnd(usize),
    /// A host tells what it has.
    Report(usize),
    /// The oldest of it is heard.
    Hear(usize),
    /// The jobs are shared, and hosts hear of it.
    Share,
}

const HOSTS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let host = 0..HOSTS;
    prop_oneof![
        3 => Just(Step::Queue),
        5 => Just(Step::Share),
        5 => host.clone().prop_map(Step::Make),
        3 => host.clone().prop_map(Step::Begin),
        2 => host.clone().prop_map(Step::End),
        2 => host.clone().prop_map(Step::TellEnd),
        4 => host.clone().prop_map(Step::Report),
        4 => host.prop_map(Step::Hear),
    ]
}

#[derive(Debug, Default)]
struct World {
    hosts: [Actual; HOSTS],
    /// Jobs that wait at the forge, and that it says are assigned.
    waiting: u32,
    counted: u32,
    queued: u32,
    made: u32,
}

const ROOM: u32 = 4;

impl World {
    fn play(&mut self, step: Step) {
        match step {
            Step::Queue => {
                self.queued += 1;
                self.waiting += 1;
                self.counted += 1;
            }
            Step::Make(host) => {
                let host = &mut self.hosts[host];
                // It has no more machines than it may.
                if host.all > host.covering() && host.covering() < ROOM {
                    host.idle.push_back(host.made);
                    host.made += 1;
                    self.made += 1;
                }
            }
            Step::Begin(host) if self.waiting > 0 => {
                if let Some(runner) = self.hosts[host].idle.pop_front() {
                    self.waiting -= 1;
                    self.hosts[host].busy.push_back(runner);
                }
            }
            Step::End(host) => {
                let host = &mut self.hosts[host];
                let ended = host.busy.pop_front();
                host.over.extend(ended);
            }
            // To the one that listens: what hosts have told before is read with it in mind.
            Step::TellEnd(host) => {
                let host = &mut self.hosts[host];
                let untold = host.over.iter().find(|runner| !host.words.contains(runner)).copied();
                self.counted -= u32::from(untold.is_some());
                host.words.extend(untold);
            }
            Step::Report(host) => {
                let now = self.hosts[host].told();
                self.hosts[host].told.push_back(now);
            }
            Step::Hear(host) => {
                if let Some(heard) = self.hosts[host].told.pop_front() {
                    self.hosts[host].heard = heard;
                }
            }
            Step::Share => self.share(),
            Step::Begin(_) => {}
        }
    }

    fn share(&mut self) {
        let sharer = |(index, host): (usize, &Actual)| {
            let runners = host.runners();
            sharer(index, ROOM.saturating_sub(runners.busy), runners, host.pending())
        };
        let hosts: Vec<Sharer> = self.hosts.iter().enumerate().map(sharer).collect();
        let sharing = share(&counted(self.counted), &hosts);
        for (index, host) in self.hosts.iter_mut().enumerate() {
            host.all = given(&sharing, index).all;
            let Runners { idle, busy } = host.runners();
            host.given = host.all.saturating_sub(idle + busy);
            host.known = host.heard_of();
            // The forge's words come with it.
            host.over.retain(|runner| !host.words.contains(runner));
        }
    }

    /// Everything is heard and done, for as long as there is something.
    fn settle(&mut self) {
        for _ in 0..400 {
            for host in 0..HOSTS {
                self.play(Step::Report(host));
                while !self.hosts[host].told.is_empty() {
                    self.play(Step::Hear(host));
                }
            }
            self.share();
            for host in 0..HOSTS {
                for step in [Step::Make(host), Step::Begin(host), Step::End(host), Step::TellEnd(host)] {
                    self.play(step);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn each_job_gets_one_runner_however_late_hosts_hear_of_each_other(steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::default();
        for step in steps {
            world.play(step);
            prop_assert!(world.made <= world.queued, "{} runners for {} jobs: {world:#?}", world.made, world.queued);
        }
        world.settle();
        prop_assert_eq!((world.waiting, world.counted), (0, 0), "all jobs end");
        prop_assert_eq!(world.made, world.queued, "{:#?}", world);
    }
}
