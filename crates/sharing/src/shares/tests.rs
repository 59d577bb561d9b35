//! However late hosts and the one that shares hear of each other, and however wrong the forge's count is for a moment: no job gets two
//! runners, and each gets one.

use std::collections::{BTreeSet, VecDeque};

use fireactions_cluster::{Load, PROTOCOL, PoolLoad};
use fireactions_model::{MachineState, PoolReport, RunnerWord};
use fireactions_testkit::pools::of_github;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const HOSTS: usize = 3;
/// Machines that a host may have.
const ROOM: u32 = 3;

fn pool() -> PoolSpec {
    of_github("fast", &[], ROOM, Some("fast"))
}

fn host(number: usize) -> ClusterHost {
    ClusterHost::new(format!("h{number}")).unwrap()
}

/// A host as it is, which is not what others know of it.
#[derive(Debug, Default)]
struct Actual {
    is_away: bool,
    made: u32,
    idle: VecDeque<String>,
    busy: VecDeque<String>,
    /// Runners whose job has ended, as the host does not know from the forge yet.
    over: VecDeque<String>,
    /// What it goes by.
    all: u32,
    taken: Option<u64>,
    /// What was written and it has not read, and what it has told and was not heard.
    shares: VecDeque<Revised<ForgeShare>>,
    reports: VecDeque<ForgeReport>,
    /// What was heard of it last.
    heard: ForgeReport,
}

impl Actual {
    fn covering(&self) -> u32 {
        u32::try_from(self.idle.len() + self.busy.len() + self.over.len()).unwrap()
    }

    fn report(&self) -> ForgeReport {
        let has_job = self.busy.iter().chain(&self.over).map(|runner| (runner.clone(), true));
        let runners = self.idle.iter().map(|runner| (runner.clone(), false)).chain(has_job).collect();
        let report = PoolReport { capacity: ROOM, runners, unnamed: 0 };
        ForgeReport { pools: BTreeMap::from([(pool().name, report)]), taken: self.taken }
    }

    fn take(&mut self, given: &Revised<ForgeShare>) {
        self.taken = Some(given.revision);
        self.all = given.share.pools.get(&pool().name).map_or(0, |jobs| jobs.all);
        let has_ended = |runner: &String| given.share.words.get(runner).is_some_and(|word| word.ended);
        self.over.retain(|runner| !has_ended(runner));
    }

    /// The host as the one that shares knows it.
    fn member(&self, number: usize) -> Member {
        let runners = self.heard.pools.values().map(|report| report.runners.len()).sum::<usize>();
        let machines = BTreeMap::from([(MachineState::Busy, u32::try_from(runners).unwrap())]);
        let pools = BTreeMap::from([(pool().name, PoolLoad { max: ROOM, machines, ..PoolLoad::default() })]);
        let forges = BTreeMap::from([(ForgeName::github(), self.heard.clone())]);
        Member {
            identity: Identity {
                host: host(number),
                instance: format!("key{number}"),
                run: "run".to_owned(),
                since: Timestamp::UNIX_EPOCH,
                version: "1".to_owned(),
                protocol: PROTOCOL,
                zone: None,
                labels: fireactions_model::Labels::default(),
            },
            load: Load { pools, forges, ..Load::default() },
        }
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
    /// The forge says so.
    TellBegin(usize),
    /// A job of this host ends, and the host knows.
    End(usize),
    /// The forge says so: with its count.
    TellEnd(usize),
    /// A host tells what it has.
    Report(usize),
    /// The oldest of it is heard.
    Hear(usize),
    /// The jobs are shared, by a count that may be too small for a moment.
    Share(u32),
    /// A host reads the oldest share that it has not read.
    Take(usize),
    /// A host goes, if its runners all have jobs, or comes back.
    Away(usize),
    /// Another host listens from now on: it knows what was written, and the forge says the rest again.
    Lead,
}

fn step() -> impl Strategy<Value = Step> {
    let host = 0..HOSTS;
    prop_oneof![
        4 => Just(Step::Queue),
        4 => Just(Step::Share(0)),
        4 => (1..4_u32).prop_map(Step::Share),
        5 => host.clone().prop_map(Step::Make),
        5 => host.clone().prop_map(Step::Take),
        3 => host.clone().prop_map(Step::Begin),
        2 => host.clone().prop_map(Step::TellBegin),
        2 => host.clone().prop_map(Step::End),
        2 => host.clone().prop_map(Step::TellEnd),
        4 => host.clone().prop_map(Step::Report),
        4 => host.clone().prop_map(Step::Hear),
        1 => host.prop_map(Step::Away),
        1 => Just(Step::Lead),
    ]
}

#[derive(Debug, Default)]
struct World {
    hosts: [Actual; HOSTS],
    /// Jobs that wait at the forge.
    waiting: u32,
    /// Jobs whose end the forge has not said, and those of them that have begun.
    counted: u32,
    running: u32,
    queued: u32,
    made: u32,
    words: BTreeMap<String, RunnerWord>,
    /// Runners whose jobs the forge does not count any more.
    ended: BTreeSet<String>,
    given: BTreeMap<ClusterHost, Revised<GivenTo>>,
    revision: u64,
}

fn word(ended: bool) -> RunnerWord {
    let job = RemoteJob { scale_set: Some("fast".to_owned()), ..RemoteJob::new(ForgeName::github(), "acme") };
    RunnerWord { ended, job: Box::new(job) }
}

impl World {
    fn play(&mut self, step: Step) {
        match step {
            Step::Queue => {
                self.queued += 1;
                self.waiting += 1;
                self.counted += 1;
            }
            Step::Make(number) => {
                let host = &mut self.hosts[number];
                if host.all > host.covering() && host.covering() < ROOM {
                    host.idle.push_back(format!("ci-key{number}-{}", host.made));
                    host.made += 1;
                    self.made += 1;
                }
            }
            Step::Begin(number) if self.waiting > 0 => {
                if let Some(runner) = self.hosts[number].idle.pop_front() {
                    self.waiting -= 1;
                    self.running += 1;
                    self.hosts[number].busy.push_back(runner);
                }
            }
            Step::Begin(_) => {}
            Step::TellBegin(number) => {
                let host = &self.hosts[number];
                let untold = host.busy.iter().find(|runner| !self.words.contains_key(*runner));
                self.words.extend(untold.map(|runner| (runner.clone(), word(false))));
            }
            Step::End(number) => {
                let host = &mut self.hosts[number];
                let ended = host.busy.pop_front();
                host.over.extend(ended);
            }
            Step::TellEnd(number) => {
                let is_told = |runner: &&String| self.words.get(*runner).is_some_and(|word| word.ended);
                let untold = self.hosts[number].over.iter().find(|runner| !is_told(runner));
                if let Some(runner) = untold {
                    if self.ended.insert(runner.clone()) {
                        self.counted -= 1;
                        self.running -= 1;
                    }
                    self.words.insert(runner.clone(), word(true));
                }
            }
            Step::Report(number) => {
                let host = &mut self.hosts[number];
                if !host.is_away {
                    let now = host.report();
                    host.reports.push_back(now);
                }
            }
            Step::Hear(number) => {
                let host = &mut self.hosts[number];
                if let Some(heard) = host.reports.pop_front() {
                    host.heard = heard;
                }
            }
            Step::Take(number) => {
                let host = &mut self.hosts[number];
                if let Some(given) = host.shares.pop_front() {
                    host.take(&given);
                }
            }
            Step::Share(too_few) => self.share(too_few),
            Step::Away(number) => self.away(number),
            Step::Lead => {
                let written = self.given.values().flat_map(|given| given.share.share.words.clone());
                self.words = written.collect();
            }
        }
    }

    fn take_all(&mut self, number: usize) {
        while !self.hosts[number].shares.is_empty() {
            self.play(Step::Take(number));
        }
    }

    fn away(&mut self, number: usize) {
        if self.hosts[number].is_away {
            let given = self.given.get(&host(number)).cloned();
            let host = &mut self.hosts[number];
            host.is_away = false;
            host.heard = host.report();
            let share =
                |Revised { share, revision }: Revised<GivenTo>| Revised { share: share.share, revision };
            host.shares.extend(given.map(share));
        } else if self.hosts[number].idle.is_empty() {
            let host = &mut self.hosts[number];
            host.is_away = true;
            // It makes none, and what was on its way is lost.
            host.all = 0;
            host.taken = None;
            host.shares.clear();
            host.reports.clear();
            // Hosts are missed some seconds later.
            self.share(0);
        }
    }

    fn share(&mut self, too_few: u32) {
        let there = self.hosts.iter().enumerate().filter(|(_, host)| !host.is_away);
        let members = there.map(|(number, actual)| (host(number), actual.member(number))).collect();
        let jobs =
            AssignedJobs { all: self.counted.saturating_sub(too_few), running: self.running, held_back: 0 };
        let heard = Heard {
            assigned: BTreeMap::from([(pool().name, jobs)]),
            words: self.words.clone(),
            ..Heard::default()
        };
        let known = Known {
            forge: &ForgeName::github(),
            pools: &[pool()],
            members: &members,
            before: &self.given,
            heard: &heard,
        };
        for (host, given) in known.shares().given {
            let before = self.given.get(&host);
            if before.is_some_and(|before| before.share == given) {
                continue;
            }
            self.revision += 1;
            let revision = self.revision;
            let number = (0..HOSTS).find(|number| self::host(*number) == host).unwrap();
            if !self.hosts[number].is_away {
                self.hosts[number].shares.push_back(Revised { share: given.share.clone(), revision });
            }
            self.given.insert(host, Revised { share: given, revision });
        }
    }

    /// Everything is heard and done, for as long as there is something.
    fn settle(&mut self) {
        for number in 0..HOSTS {
            if self.hosts[number].is_away {
                self.away(number);
            }
        }
        // Some rounds more, for what is still awaited.
        let mut rest = 3;
        for _ in 0..400 {
            rest -= u32::from(self.counted == 0);
            if rest == 0 {
                return;
            }
            for number in 0..HOSTS {
                self.play(Step::Report(number));
                while !self.hosts[number].reports.is_empty() {
                    self.play(Step::Hear(number));
                }
            }
            self.share(0);
            for number in 0..HOSTS {
                self.take_all(number);
                for step in [Step::Make, Step::Begin, Step::End, Step::TellEnd] {
                    self.play(step(number));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn each_job_gets_one_runner_whatever_is_late(steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::default();
        for step in steps {
            world.play(step);
            prop_assert!(world.made <= world.queued, "{} runners for {} jobs: {world:#?}", world.made, world.queued);
        }
        world.settle();
        prop_assert_eq!((world.waiting, world.counted), (0, 0), "all jobs end: {:#?}", &world);
        prop_assert_eq!(world.made, world.queued, "{:#?}", &world);
        let pending: BTreeSet<u32> =
            world.given.values().flat_map(|given| given.share.share.pending.values()).copied().collect();
        prop_assert!(pending.is_empty(), "nothing is awaited for ever: {world:#?}");
    }
}

#[test]
fn a_host_keeps_what_it_may_have_begun_while_the_count_is_too_small() {
    let mut world = World::default();
    let heard = |world: &mut World, number| {
        world.play(Step::Report(number));
        world.play(Step::Hear(number));
    };
    // The host that was given a runner to make, which it does.
    let made = |world: &mut World| {
        world.play(Step::Share(0));
        for number in 0..HOSTS {
            world.take_all(number);
        }
        let lacking = (0..HOSTS).find(|number| world.hosts[*number].all > world.hosts[*number].covering());
        if let Some(number) = lacking {
            world.play(Step::Make(number));
        }
        lacking
    };
    let mut first = 0;
    for _ in 0..ROOM {
        world.play(Step::Queue);
        first = made(&mut world).unwrap();
        world.play(Step::Begin(first));
        heard(&mut world, first);
    }
    // That host is full. The next job is for another, which begins a machine and has not told it.
    world.play(Step::Queue);
    let next = made(&mut world).unwrap();
    assert_ne!(first, next);
    // The first one has room again, and would come first. The job stays where it was all the same.
    for step in [Step::End(first), Step::TellEnd(first), Step::Share(1)] {
        world.play(step);
    }
    world.take_all(first);
    heard(&mut world, first);
    assert_eq!(made(&mut world), None, "{world:#?}");
    // A host that goes by a share with less, and tells no runner, has begun none.
    world.hosts[next].idle.clear();
    world.counted = 0;
    world.share(0);
    world.take_all(next);
    heard(&mut world, next);
    world.share(0);
    assert_eq!(world.given[&host(next)].share.share.pending, BTreeMap::new());
}
