use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use fireactions_model::{ForgeName, Label, Place, PoolName, PoolSpec, RemoteJob};
use fireactions_testkit::pools::of_github as pool;

use super::*;

/// A job is for the pools of its owner that have all of its labels; scale sets count their own.
struct Plain;

const BEHIND: Duration = Duration::from_secs(15);

impl Rules for Plain {
    fn fits(&self, pool: &PoolSpec, wants: &Wants<'_>) -> bool {
        let has = |label: &String| Label::new(label).is_ok_and(|label| pool.labels.contains(&label));
        wants.repository.starts_with("acme/") && wants.labels.iter().all(has)
    }

    fn behind(&self) -> Duration {
        BEHIND
    }

    fn counting(&self, pool: &PoolSpec) -> Counting {
        match (pool.scale_set(), pool.min_runners) {
            (Some(_), _) => Counting::Assigned,
            (None, 0) => Counting::Placed,
            (None, ready) => Counting::Standing(ready),
        }
    }
}

fn board(pools: Vec<PoolSpec>) -> Board {
    let mut board = Board::new(Arc::new(Plain));
    board.set_pools(pools);
    board
}

fn waiting(id: u64, labels: &[&str]) -> Waiting {
    Waiting {
        id,
        repository: "acme/widgets".to_owned(),
        labels: labels.iter().map(ToString::to_string).collect(),
        queued_at: Some(Timestamp::from_second(1_000 + i64::try_from(id).unwrap()).unwrap()),
        tries: 0,
        remote: RemoteJob::new(ForgeName::github(), "acme"),
        heard: *START,
        told: Timestamp::from_second(2_000).unwrap(),
    }
}

/// When jobs were heard of, where nothing else is said.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn in_widgets(job: &Waiting) -> bool {
    job.repository == "acme/widgets"
}

fn name(text: &str) -> PoolName {
    PoolName::new(text).unwrap()
}

fn id(n: u8) -> JobId {
    JobId::from_random([n; 8])
}

fn need(board: &Board, pool: &str, now: Instant) -> u32 {
    board.needs(now).get(&name(pool)).copied().unwrap()
}

fn assigned(all: u32, running: u32) -> AssignedJobs {
    AssignedJobs { all, running, held_back: 0 }
}

#[test]
fn a_job_goes_to_the_smallest_pool_that_will_do_and_on_where_that_is_at_work() {
    let now = Instant::now();
    let mut board = board(vec![
        pool("large", &["debian", "gpu", "large"], 2, None),
        pool("small", &["debian"], 1, None),
        pool("middle", &["debian", "gpu"], 1, None),
    ]);
    board.queue.add(waiting(1, &["DEBIAN"]));
    assert_eq!(board.needs(now).into_values().collect::<Vec<_>>(), [0, 0, 1], "large, middle, small");
    board.queue.add(waiting(2, &["debian"]));
    board.queue.add(waiting(3, &["gpu"]));
    board.queue.add(waiting(4, &["debian", "gpu"]));
    // Small has one place; the second job goes on to middle, which leaves large to the others.
    assert_eq!(
        (need(&board, "small", now), need(&board, "middle", now), need(&board, "large", now)),
        (1, 1, 2)
    );
    // All are full: the next waits for the smallest.
    board.queue.add(waiting(5, &["debian"]));
    assert_eq!(need(&board, "small", now), 2);
    let Place::Pool { pool, ahead, .. } = board.places()[&(false, 5)].clone() else { panic!() };
    assert_eq!((pool, ahead), (name("small"), 1));
}

#[test]
fn a_thousand_jobs_that_want_the_same_are_asked_about_once() {
    let asked = AtomicUsize::new(0);
    let jobs: Vec<Waiting> =
        (1..=1_000).map(|id| waiting(id, if id % 2 == 0 { &["debian"] } else { &["gpu"] })).collect();
    let pools = [pool("large", &["debian", "gpu"], 2, None), pool("small", &["debian"], 1, None)];
    let fits = |pool: &PoolSpec, wants: &Wants<'_>| {
        asked.fetch_add(1, Ordering::Relaxed);
        Plain.fits(pool, wants)
    };
    let placed = place::place(pools.iter(), jobs.iter(), fits, |pool| pool.max_runners);
    assert_eq!((placed[&name("large")].len(), placed[&name("small")].len()), (500, 500));
    assert_eq!(asked.into_inner(), 4, "two pools, two kinds of jobs");
}

#[test]
fn jobs_of_others_are_not_ours() {
    let board = board(vec![pool("p", &["debian"], 1, None), pool("s", &["debian", "gpu"], 1, Some("fast"))]);
    let ours = |repository: &str, labels: &[&str]| {
        board.is_ours(&Waiting { repository: repository.to_owned(), ..waiting(1, labels) })
    };
    assert!(ours("acme/x", &["DEBIAN"]));
    assert!(!ours("acme/x", &["gpu"]), "the set tells of its own");
    assert!(!ours("other/widgets", &["debian"]) && !ours("acme/x", &["debian", "windows"]));
}

#[test]
fn each_claim_serves_one_job_whoever_gets_it() {
    let now = Instant::now();
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    for job in 1..=2 {
        board.queue.add(waiting(job, &["debian"]));
    }
    let first = board.claim(&name("p"), &id(1), now).unwrap();
    assert_eq!(first.waiting.unwrap().id, 1);
    let second = board.claim(&name("p"), &id(2), now).unwrap();
    assert_eq!(second.waiting.unwrap().id, 2, "the next in line");
    assert_eq!(board.claim(&name("p"), &id(3), now), None);
    // The first job is cancelled, and its runner waits on: the next is for a job that nobody is there for.
    board.queue.remove(1, 0, now);
    board.queue.add(waiting(3, &["debian"]));
    board.queue.add(waiting(4, &["debian"]));
    let third = board.claim(&name("p"), &id(3), now).unwrap();
    assert_eq!(third.waiting.unwrap().id, 3);
    board.give_up(&id(2));
    assert_eq!(need(&board, "p", now), 1);
    assert_eq!(board.claim(&name("p"), &id(4), now).unwrap().waiting.unwrap().id, 2);
    assert_eq!(board.claim(&name("unknown"), &id(3), now), None);
}

#[test]
fn a_runner_that_is_ahead_of_the_webhook_covers_its_job_until_an_audit() {
    let now = Instant::now();
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    board.queue.add(waiting(1, &["debian"]));
    board.claim(&name("p"), &id(1), now).unwrap();
    // Its log says that it began; which job it was, nobody has said.
    assert!(board.runners.began(&id(1), false, now));
    assert_eq!(need(&board, "p", now), 0);
    board.asked(&name("p"), now + BEHIND);
    assert_eq!(need(&board, "p", now + AHEAD), 0, "GitHub's list may not have known yet");
    board.asked(&name("p"), now + AHEAD);
    assert_eq!(need(&board, "p", now + AHEAD), 1, "the job still waits: it was another one");
    // The webhook says so at last.
    assert!(!board.runners.began(&id(1), true, now), "the audit has said so");
    assert!(board.queue.remove(1, 0, now));
    assert_eq!(need(&board, "p", now), 0);
    assert!(!board.queue.add(waiting(1, &["debian"])), "a delivery that comes late queues nothing anew");
    assert_eq!(need(&board, "p", now), 0);
}

#[test]
fn a_runner_whose_job_ended_before_the_webhook_told_of_it_covers_it_for_a_while() {
    let now = Instant::now();
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    for n in 1..=2 {
        board.queue.add(waiting(u64::from(n), &["debian"]));
        board.claim(&name("p"), &id(n), now).unwrap();
        assert!(board.runners.began(&id(n), false, now) && board.runners.ended(&id(n), false, now));
    }
    assert_eq!(need(&board, "p", now), 0, "no other runner for what has run");
    assert!(
        board.queue.remove(1, 0, now) && board.runners.began(&id(1), true, now),
        "the webhook says so at last"
    );
    assert_eq!(need(&board, "p", now), 0);
    assert!(!board.runners.began(&id(1), true, now));
    board.queue.add(waiting(3, &["debian"]));
    assert_eq!(need(&board, "p", now), 1, "the next job needs one");
    assert_eq!(need(&board, "p", now + AHEAD), 2, "GitHub insists");
    board.asked(&name("p"), now + BEHIND + Duration::from_secs(1));
    assert_eq!(need(&board, "p", now), 2, "by an audit, too");
}

#[test]
fn a_job_that_an_audit_misses_is_the_one_of_the_runner_that_began_first() {
    let now = Instant::now();
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    for n in 1..=3 {
        board.queue.add(waiting(u64::from(n), &["debian"]));
        board.claim(&name("p"), &id(n), now).unwrap();
    }
    board.runners.began(&id(2), false, now);
    board.runners.began(&id(1), false, now + Duration::from_secs(1));
    let seen = vec![waiting(2, &["debian"]), waiting(3, &["debian"])];
    assert!(board.audited(in_widgets, seen, *START + Duration::from_secs(1_000)));
    let stage = |n| board.runners.get(&id(n)).unwrap().stage;
    assert_eq!(stage(2), Stage::Busy { known: true, since: now });
    assert!(matches!(stage(1), Stage::Busy { known: false, .. }) && stage(3) == Stage::Idle);
    assert_eq!(need(&board, "p", now), 0, "two wait, and two runners are there for them");
}

#[test]
fn a_runner_that_is_there_takes_its_job_although_its_pool_is_paused() {
    let now = Instant::now();
    let mut board =
        board(vec![pool("small", &["debian"], 1, None), pool("large", &["debian", "gpu"], 1, None)]);
    board.queue.add(waiting(1, &["debian"]));
    board.claim(&name("small"), &id(1), now).unwrap();
    board.set_capacity([(name("small"), 0), (name("large"), 1)].into());
    assert_eq!((need(&board, "small", now), need(&board, "large", now)), (0, 0));
    board.give_up(&id(1));
    assert_eq!((need(&board, "small", now), need(&board, "large", now)), (0, 1));
}

#[test]
fn a_scale_sets_statistics_are_the_truth() {
    let now = Instant::now();
    let mut board = board(vec![pool("s", &["debian"], 9, Some("s"))]);
    assert_eq!(need(&board, "s", now), 0, "before anything is known");
    board.set_assigned(&name("s"), assigned(3, 0));
    assert_eq!(need(&board, "s", now), 3);
    for n in 1..=3 {
        board.claim(&name("s"), &id(n), now).unwrap();
        board.runners.began(&id(n), true, now);
    }
    assert_eq!(need(&board, "s", now), 0, "running jobs are assigned, too");
    // One that was lost before it had a job is replaced at once.
    board.set_assigned(&name("s"), assigned(4, 3));
    board.claim(&name("s"), &id(4), now).unwrap();
    assert_eq!(need(&board, "s", now), 0);
    assert!(board.runners.ended(&id(4), false, now));
    assert_eq!(need(&board, "s", now), 1);
    board.set_assigned(&name("s"), assigned(3, 3));
    // A machine ended before GitHub said that its job did.
    assert!(board.runners.ended(&id(1), false, now));
    assert_eq!(need(&board, "s", now), 0);
    assert_eq!(need(&board, "s", now + AHEAD), 1, "GitHub insists: the runner is lost, its job is not");
    assert!(board.runners.ended(&id(1), true, now));
    board.set_assigned(&name("s"), assigned(2, 2));
    assert_eq!(need(&board, "s", now), 0);
    board.runners.forget(now);
    assert!(board.runners.get(&id(1)).is_none() && board.runners.get(&id(2)).is_some());
    // Jobs that were heard of one by one count for nothing here.
    board.queue.assign(&name("s"), waiting(70, &["s"]));
    assert_eq!(need(&board, "s", now), 0);
    board.queue.keep_assigned(&name("s"), 0);
    assert_eq!(board.queue.all().count(), 0);
}

#[test]
fn an_audit_adds_what_was_lost_and_removes_what_is_gone() {
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    let since = *START + Duration::from_secs(1_000);
    board.queue.add(waiting(1, &["debian"]));
    board.queue.add(Waiting { heard: since, ..waiting(2, &["debian"]) });
    board.queue.add(Waiting { repository: "acme/other".to_owned(), ..waiting(3, &["debian"]) });
    let just = since.checked_sub(Duration::from_secs(10)).unwrap();
    board.queue.add(Waiting { heard: just, ..waiting(5, &["debian"]) });
    let seen = vec![waiting(4, &["debian"])];
    assert!(board.audited(in_widgets, seen.clone(), since));
    let left: Vec<u64> = board.queue.waiting().map(|job| job.id).collect();
    assert_eq!(
        left,
        [2, 3, 4, 5],
        "2 came while the audit looked, 3 is another repository's, 5 is not in GitHub's list yet"
    );
    assert!(!board.audited(in_widgets, seen, since));
}

#[test]
fn a_job_that_had_gone_and_is_run_again_waits_by_a_later_list_or_by_the_count_of_its_tries() {
    let now = *START;
    let list =
        |board: &mut Board, since: Instant| board.audited(in_widgets, vec![waiting(1, &["debian"])], since);
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    board.queue.remove(1, 1, now);
    assert!(!list(&mut board, now + BEHIND), "the list may be older than what was heard");
    assert!(list(&mut board, now + BEHIND + Duration::from_secs(1)));
    assert_eq!(need(&board, "p", now), 1);
    assert!(board.queue.remove(1, 2, now + 2 * BEHIND), "it began once more");
    assert!(!list(&mut board, now + 2 * BEHIND));
    let told = |tries| Waiting { tries, ..waiting(1, &["debian"]) };
    assert!(!board.queue.add(told(0)) && !board.queue.add(told(1)), "these come late");
    assert!(board.queue.add(told(2)), "and is run for the third time");
    // Before its first try it was cancelled: what comes late looks like what is new, and the list is to tell.
    board.queue.remove(2, 0, now);
    assert!(!board.queue.add(waiting(2, &["debian"])));
}

#[test]
fn a_job_that_is_run_again_between_two_lists_is_known_by_its_new_handle() {
    let now = *START;
    let with = |handle: &str, heard: Instant| {
        let remote = RemoteJob { handle: Some(handle.to_owned()), ..waiting(1, &[]).remote };
        Waiting { remote, heard, ..waiting(1, &["debian"]) }
    };
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    assert!(board.queue.add(with("old", now)));
    let later = now + Duration::from_secs(1);
    board.queue.add(with("new", later));
    board.queue.add(with("old", now));
    assert!(!board.queue.missed(1, Some("old"), later), "the runner of the old one says nothing of the new");
    let claim = board.claim(&name("p"), &id(1), later).unwrap();
    assert_eq!(claim.waiting.unwrap().remote.handle.as_deref(), Some("new"));
    assert!(board.queue.missed(1, Some("new"), later));
}

#[test]
fn a_job_that_was_heard_of_before_the_clock_was_set_back_is_gone_with_the_next_audit() {
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    let ahead = Timestamp::now() + Duration::from_secs(7_200);
    board.queue.add(Waiting { told: ahead, queued_at: None, ..waiting(1, &["debian"]) });
    assert_eq!(need(&board, "p", *START), 1);
    assert!(board.audited(in_widgets, Vec::new(), *START + BEHIND + Duration::from_secs(1)));
    assert_eq!(need(&board, "p", *START), 0, "no machine is made for it for two hours");
}

#[test]
fn what_a_runner_is_at_is_told_by_a_clock_that_nobody_sets() {
    let now = Instant::now();
    let later = |secs| now + Duration::from_secs(secs);
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    for n in 1..=2 {
        board.queue.add(waiting(u64::from(n), &["debian"]));
        board.claim(&name("p"), &id(n), now).unwrap();
    }
    let runners = &mut board.runners;
    assert!(!runners.had_begun(&id(1), later(9)), "it has not");
    runners.began(&id(1), false, later(5));
    assert!(!runners.had_begun(&id(1), later(5)) && runners.had_begun(&id(1), later(6)));
    runners.ended(&id(1), true, later(7));
    runners.forget(later(8));
    assert!(runners.had_begun(&id(1), later(9)), "one that ended and is forgotten had");
    let age = Duration::from_secs(15);
    assert!(!runners.is_older(&id(2), age, later(15)) && runners.is_older(&id(2), age, later(16)));
    assert!(!runners.is_older(&id(1), age, later(99)), "nothing is known of it");
}

#[test]
fn runners_without_a_job_are_surplus_after_a_while_the_newest_first() {
    let start = Instant::now();
    let longest = Duration::from_secs(90);
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    for n in 1..=3 {
        board.queue.add(waiting(u64::from(n), &["debian"]));
        board.claim(&name("p"), &id(n), start + Duration::from_secs(u64::from(n))).unwrap();
    }
    let later = start + Duration::from_secs(100);
    assert_eq!(board.surplus(later, longest), []);
    board.queue.remove(1, 0, start);
    board.queue.remove(2, 0, start);
    assert_eq!(board.surplus(later, longest), [id(3), id(2)]);
    assert_eq!(board.surplus(start + Duration::from_secs(91), longest), [], "too early for those");
    board.runners.began(&id(1), false, later);
    assert_eq!(board.surplus(later, longest), [id(3)], "one job waits for the two that are idle");
}

#[test]
fn a_pool_that_may_have_no_runners_is_passed_by() {
    let now = Instant::now();
    let mut board = board(vec![pool("none", &["debian"], 0, None), pool("p", &["debian", "gpu"], 1, None)]);
    board.queue.add(waiting(1, &["debian"]));
    assert_eq!((need(&board, "none", now), need(&board, "p", now)), (0, 1));
}

#[test]
fn standing_runners_are_as_many_as_are_kept_ready_whatever_runs() {
    let now = Instant::now();
    let mut board = board(vec![PoolSpec { min_runners: 2, ..pool("p", &["debian"], 3, None) }]);
    assert_eq!(need(&board, "p", now), 2);
    for n in 1..=2 {
        assert_eq!(board.claim(&name("p"), &id(n), now), Some(Claim { waiting: None }));
    }
    assert_eq!((board.claim(&name("p"), &id(3), now), need(&board, "p", now)), (None, 0));
    // One has a job: another waits in its place, up to the pool's maximum.
    board.runners.began(&id(1), false, now);
    assert_eq!(need(&board, "p", now), 1);
    board.claim(&name("p"), &id(3), now).unwrap();
    board.runners.began(&id(2), false, now);
    assert_eq!(need(&board, "p", now), 0, "there is room for no more");
    board.runners.ended(&id(1), false, now);
    assert_eq!(need(&board, "p", now), 1);
    assert_eq!(board.surplus(now + AHEAD, Duration::ZERO), []);
    board.set_capacity([(name("p"), 0)].into());
    assert_eq!(need(&board, "p", now), 0, "the pool is paused");
}

/// The board of the host that places for all, with one pool.
fn placing(jobs: std::ops::RangeInclusive<u64>, asked: Instant) -> Board {
    let mut board = board(vec![pool("p", &["debian"], 9, None)]);
    board.set_capacity([(name("p"), 9)].into());
    for job in jobs {
        board.queue.add(waiting(job, &["debian"]));
    }
    board.asked(&name("p"), asked);
    board
}

fn report(board: &mut Board, runners: &[(&str, bool)], now: Instant) {
    let pool = name("p");
    let all = runners.iter().map(|(runner, is_busy)| (*runner, (&pool, *is_busy))).collect();
    board.runners.reported(&all, |runner| id(u8::try_from(runner.len()).unwrap()), now);
}

#[test]
fn of_jobs_that_several_hosts_share_each_counts_once() {
    let second = |n| *START + Duration::from_secs(n);
    let mut board = placing(1..=3, second(0));
    let counted = |board: &Board, at| board.counted(&board.placed(), second(at))[&name("p")];
    report(&mut board, &[("a", false)], second(1));
    assert_eq!(counted(&board, 1), assigned(3, 0));
    assert_eq!(board.to_give(&board.placed())[&name("p")].len(), 3);
    // A runner has begun one, and the list still has it.
    report(&mut board, &[("a", true)], second(2));
    assert_eq!(counted(&board, 2), assigned(3, 1));
    board.audited(in_widgets, vec![waiting(2, &["debian"]), waiting(3, &["debian"])], second(20));
    board.asked(&name("p"), second(20));
    assert_eq!(counted(&board, 20), assigned(3, 1));
    // One that began a job and ended it between two reports: what the list still has is not lacking a runner.
    report(&mut board, &[("a", true), ("bb", false)], second(21));
    report(&mut board, &[("a", true)], second(22));
    assert_eq!(counted(&board, 22), assigned(2, 1));
    // It had none: the next list says so.
    board.asked(&name("p"), second(40));
    assert_eq!(counted(&board, 40), assigned(3, 1));
    // Before a list was read nothing is said, so that no host loses what it was given.
    let mut new = Board::new(Arc::new(Plain));
    new.set_pools(vec![pool("p", &["debian"], 9, None)]);
    assert_eq!(new.counted(&new.placed(), *START), BTreeMap::new());
}

#[test]
fn a_host_makes_runners_for_its_share_and_none_for_what_has_ended() {
    let now = *START;
    let mut board = Board::of_share(Arc::new(Plain));
    board.set_pools(vec![pool("p", &["debian"], 9, None)]);
    board.queue.add(waiting(9, &["debian"]));
    assert_eq!(need(&board, "p", now), 0, "what it hears of is for others to place");
    board.set_assigned(&name("p"), assigned(2, 0));
    board.queue.give(&name("p"), [waiting(4, &[]), waiting(7, &[])].into_iter());
    let mut claim = |row| board.claim(&name("p"), &id(row), now).map(|claim| claim.waiting.map(|job| job.id));
    assert_eq!(
        (claim(1), claim(2), claim(3)),
        (Some(Some(4)), Some(Some(7)), None),
        "one runner for each job"
    );
    for (row, runner) in [(1, "one"), (2, "two")] {
        board.runners.name(&id(row), runner);
    }
    let counted = |names: &[&str]| {
        BTreeMap::from([(name("p"), names.iter().map(ToString::to_string).collect::<BTreeSet<String>>())])
    };
    board.set_assigned(&name("p"), assigned(2, 1));
    board.set_taken(Some(1), counted(&["one", "two"]));
    board.runners.began(&id(1), false, now);
    board.asked(&name("p"), now + Duration::from_secs(60));
    board.runners.ended(&id(1), true, now);
    board.runners.forget(now);
    assert_eq!(need(&board, "p", now), 0, "the share counts the one that has ended");
    let report = &board.report(now).pools[&name("p")];
    assert_eq!(report.runners, BTreeMap::from([("two".to_owned(), false)]));
    // The next share does not, and has a job more.
    board.set_assigned(&name("p"), assigned(2, 0));
    board.set_taken(Some(1), counted(&["two"]));
    assert_eq!(need(&board, "p", now), 1);
}

#[test]
fn a_host_that_hears_of_an_end_before_its_share_does_makes_no_second_runner() {
    let now = *START;
    let mut board = Board::of_share(Arc::new(Plain));
    board.set_pools(vec![pool("p", &["debian"], 9, None)]);
    board.set_assigned(&name("p"), assigned(1, 0));
    board.set_taken(Some(1), BTreeMap::new());
    assert!(board.claim(&name("p"), &id(1), now).is_some());
    board.runners.name(&id(1), "one");
    // The forge itself tells of it, as a webhook or a list, and the share still gives its job.
    assert!(!board.told(&id(1)));
    assert!(board.runners.began(&id(1), false, now) && board.runners.ended(&id(1), false, now));
    assert_eq!(need(&board, "p", now), 0);
    board.asked(&name("p"), now + Duration::from_secs(30));
    assert_eq!(need(&board, "p", now), 0);
    assert_eq!(board.report(now).pools[&name("p")].runners, BTreeMap::from([("one".to_owned(), true)]));
    // A share that counts it: what was told counts, and the next job's runner is another.
    let counted = BTreeMap::from([(name("p"), BTreeSet::from(["one".to_owned()]))]);
    board.set_taken(Some(2), counted.clone());
    assert_eq!(need(&board, "p", now), 0);
    assert!(board.report(now).pools[&name("p")].runners.is_empty() && board.told(&id(1)));
    board.set_assigned(&name("p"), assigned(2, 1));
    board.set_taken(Some(3), counted);
    assert_eq!(need(&board, "p", now), 1);
    board.set_assigned(&name("p"), assigned(1, 0));
    board.set_taken(Some(4), BTreeMap::new());
    assert_eq!(need(&board, "p", now), 1);
}

#[test]
fn who_hears_of_a_runner_s_job_takes_it_off_for_that_runner() {
    let second = |n| *START + Duration::from_secs(n);
    for hook_first in [true, false] {
        let mut board = placing(1..=1, second(0));
        let counted = |board: &Board, at| board.counted(&board.placed(), second(at))[&name("p")];
        report(&mut board, &[("a", false)], second(1));
        if !hook_first {
            report(&mut board, &[("a", true)], second(2));
            assert_eq!(counted(&board, 2), assigned(1, 1));
        }
        board.runner_began("a", second(2));
        board.queue.remove(1, 1, second(2));
        report(&mut board, &[("a", true)], second(3));
        assert_eq!(counted(&board, 3), assigned(1, 1), "{hook_first}");
        // The next job has not begun, whatever becomes of that runner.
        board.queue.add(waiting(2, &["debian"]));
        assert_eq!(counted(&board, 3), assigned(2, 1), "{hook_first}");
        report(&mut board, &[], second(4));
        assert_eq!(counted(&board, 4), assigned(1, 0), "{hook_first}");
    }
}
