//! Our runners: what each is at, as far as anything has told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use fireactions_model::{JobId, PoolName};

use super::{AHEAD, Counting};

/// What a runner is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is to take a job and has none: it is being registered, is starting, or listens.
    Idle,
    /// It has begun a job; `known` once the forge has said so, and not only the runner's own log.
    Busy {
        /// The forge has said which.
        known: bool,
        /// Since when.
        since: Instant,
    },
    /// Its job or its machine has ended; the forge may not have said so yet.
    Over {
        /// The forge has said so.
        known: bool,
        /// Since when.
        since: Instant,
        /// When it began a job of which the forge has not said that it waits no more.
        began: Option<Instant>,
    },
}

impl Stage {
    /// Whether it is there for a job that is still counted as wanted.
    fn covers(self, counting: Counting, now: Instant) -> bool {
        let ahead = |since: Instant| now.saturating_duration_since(since) < AHEAD;
        match (self, counting) {
            (Self::Idle, _) | (Self::Busy { .. }, Counting::Assigned | Counting::Given) => true,
            (Self::Busy { known, .. }, Counting::Placed) => !known,
            (Self::Over { known, since, .. }, Counting::Assigned) => !known && ahead(since),
            (Self::Over { since, began, .. }, Counting::Placed | Counting::Given) => {
                began.is_some() && ahead(since)
            }
            (Self::Busy { .. } | Self::Over { .. }, Counting::Standing(_)) => false,
        }
    }
}

/// A runner.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) pool: PoolName,
    /// Its name at the forge, once that is written down.
    pub(crate) name: Option<String>,
    pub(crate) stage: Stage,
    /// The number of the waiting job that it was made for.
    pub(crate) job: Option<u64>,
    since: Instant,
    /// Something that the host was given counted it.
    is_counted: bool,
    /// The forge has told of its job before that.
    is_told: bool,
}

impl Runner {
    pub(crate) fn new(pool: PoolName, now: Instant) -> Self {
        Self {
            pool,
            name: None,
            stage: Stage::Idle,
            job: None,
            since: now,
            is_counted: false,
            is_told: false,
        }
    }

    /// When it began a job that the forge may still count as one that waits.
    fn is_ahead(&self) -> Option<Instant> {
        match self.stage {
            Stage::Busy { known: false, since } => Some(since),
            Stage::Over { began, .. } => began,
            Stage::Idle | Stage::Busy { .. } => None,
        }
    }

    /// The forge does not count its job as one that waits any more.
    fn catch_up(&mut self) {
        match &mut self.stage {
            Stage::Busy { known, .. } => *known = true,
            Stage::Over { began, .. } => *began = None,
            Stage::Idle => {}
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Runners {
    by_job: HashMap<JobId, Runner>,
    by_name: HashMap<String, JobId>,
}

impl Runners {
    pub(crate) fn insert(&mut self, job: JobId, runner: Runner) {
        if let Some(name) = &runner.name {
            self.by_name.insert(name.clone(), job.clone());
        }
        self.by_job.insert(job, runner);
    }

    pub(crate) fn remove(&mut self, job: &JobId) {
        if let Some(name) = self.by_job.remove(job).and_then(|runner| runner.name) {
            self.by_name.remove(&name);
        }
    }

    /// The runner's name is written down.
    pub(crate) fn name(&mut self, job: &JobId, name: &str) {
        if let Some(runner) = self.by_job.get_mut(job) {
            runner.name = Some(name.to_owned());
            self.by_name.insert(name.to_owned(), job.clone());
        }
    }

    pub(crate) fn get(&self, job: &JobId) -> Option<&Runner> {
        self.by_job.get(job)
    }

    /// The job under which a runner of this name is kept.
    pub(crate) fn named(&self, name: &str) -> Option<&JobId> {
        self.by_name.get(name)
    }

    /// The forge has told this host itself of the runner's job. False where what the host was given never counted the runner: there
    /// its job is still one that waits, so the word is kept for when it does, and the runner is there for the job until then.
    pub(crate) fn told(&mut self, job: &JobId) -> bool {
        let Some(runner) = self.by_job.get_mut(job) else { return true };
        runner.is_told |= !runner.is_counted;
        runner.is_counted
    }

    /// What the host is given counts these, and so does what was told of them before.
    pub(crate) fn counted(&mut self, names: &BTreeSet<String>) {
        for name in names {
            let runner = self.by_name.get(name).and_then(|row| self.by_job.get_mut(row));
            let Some(runner) = runner else { continue };
            runner.is_counted = true;
            if std::mem::take(&mut runner.is_told) {
                match &mut runner.stage {
                    Stage::Busy { known, .. } => *known = true,
                    Stage::Over { known, began, .. } => (*known, *began) = (true, None),
                    Stage::Idle => {}
                }
            }
        }
    }

    /// The runner has begun a job. False when that is no news. `known`: by the forge's word.
    pub(crate) fn began(&mut self, job: &JobId, known: bool, now: Instant) -> bool {
        let Some(runner) = self.by_job.get_mut(job) else { return false };
        match &mut runner.stage {
            Stage::Over { began, .. } => return known && began.take().is_some(),
            Stage::Busy { known: before, .. } if *before || !known => return false,
            Stage::Idle | Stage::Busy { .. } => {}
        }
        runner.stage = Stage::Busy { known, since: now };
        true
    }

    /// The forge has just been asked, from `asked` on, for the pool's jobs that wait: what runners had begun well before is
    /// not among them. Of jobs that are `given` that counts as in [`told`](Self::told).
    pub(crate) fn audited(&mut self, pool: &PoolName, asked: Instant, behind: Duration, given: bool) {
        let before = |began: Instant| began + behind < asked;
        for runner in self.by_job.values_mut().filter(|runner| runner.pool == *pool) {
            if !runner.is_ahead().is_some_and(before) {
                continue;
            }
            if given && !runner.is_counted {
                runner.is_told = true;
                continue;
            }
            runner.catch_up();
        }
    }

    /// The forge has just said that a job of the pool's waits no more: that is the one which the first of the runners began that
    /// are ahead of the forge's word. False when none is.
    pub(crate) fn caught_up(&mut self, pool: &PoolName) -> bool {
        let ahead = self.by_job.values_mut().filter(|runner| runner.pool == *pool);
        let ahead = ahead.filter_map(|runner| Some((runner.is_ahead()?, runner)));
        let Some((_, runner)) = ahead.min_by_key(|(began, _)| *began) else { return false };
        runner.catch_up();
        true
    }

    /// Whether the runner had begun its job before this time. One that is not known any more had.
    pub(crate) fn had_begun(&self, job: &JobId, before: Instant) -> bool {
        match self.by_job.get(job).map(|runner| runner.stage) {
            Some(Stage::Busy { since, .. } | Stage::Over { since, .. }) => since < before,
            Some(Stage::Idle) => false,
            None => true,
        }
    }

    /// Whether the runner has been there for as long.
    pub(crate) fn is_older(&self, job: &JobId, age: Duration, now: Instant) -> bool {
        self.by_job.get(job).is_some_and(|runner| now.saturating_duration_since(runner.since) > age)
    }

    /// The runner's job has ended, or the runner has. False when that is no news.
    pub(crate) fn ended(&mut self, job: &JobId, known: bool, now: Instant) -> bool {
        let Some(runner) = self.by_job.get_mut(job) else { return false };
        match runner.stage {
            Stage::Over { known: before, .. } if before || !known => false,
            Stage::Over { since, .. } => {
                runner.stage = Stage::Over { known, since, began: None };
                true
            }
            // It never had a job, so nothing is to be heard of one: the job that it was for needs another.
            Stage::Idle => {
                runner.stage = Stage::Over { known: true, since: now, began: None };
                true
            }
            Stage::Busy { known: heard, since } => {
                let began = (!heard && !known).then_some(since);
                runner.stage = Stage::Over { known, since: now, began };
                true
            }
        }
    }

    /// Runners of a pool that cover jobs which are still counted as wanted. Of jobs that the forge counts itself, until it
    /// has heard of their end; of those that are placed, until it has said that they began, by the webhook or in an audit,
    /// even if they have ended meanwhile. Standing runners are there for the next job each.
    pub(crate) fn covering(&self, pool: &PoolName, counting: Counting, now: Instant) -> u32 {
        self.count(pool, |stage| stage.covers(counting, now))
    }

    /// How many of these cover no job any more.
    pub(crate) fn not_covering(&self, names: &BTreeSet<String>, counting: Counting, now: Instant) -> u32 {
        let covers = |name: &&String| {
            let runner = self.by_name.get(*name).and_then(|row| self.by_job.get(row));
            runner.is_some_and(|runner| runner.stage.covers(counting, now))
        };
        let count = names.iter().filter(|name| !covers(name)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Of a pool's runners those that cover jobs: by name, with whether each has a job, and how many have no name yet.
    pub(crate) fn by_name(
        &self,
        pool: &PoolName,
        counting: Counting,
        now: Instant,
    ) -> (BTreeMap<String, bool>, u32) {
        let its = self.by_job.values().filter(|runner| runner.pool == *pool);
        let covering: Vec<&Runner> = its.filter(|runner| runner.stage.covers(counting, now)).collect();
        let named =
            covering.iter().filter_map(|runner| Some((runner.name.clone()?, runner.stage != Stage::Idle)));
        let named: BTreeMap<String, bool> = named.collect();
        let unnamed = covering.len().saturating_sub(named.len());
        (named, u32::try_from(unnamed).unwrap_or(u32::MAX))
    }

    /// Runners of a pool that have begun a job which the forge may still count as one that waits.
    pub(crate) fn ahead(&self, pool: &PoolName, now: Instant) -> u32 {
        self.count(pool, |stage| stage != Stage::Idle && stage.covers(Counting::Placed, now))
    }

    /// These are all runners that other hosts report now, by name: each with its pool, and whether it has a job. `row` makes a row's
    /// name of a runner's.
    pub(crate) fn reported(
        &mut self,
        all: &BTreeMap<&str, (&PoolName, bool)>,
        row: impl Fn(&str) -> JobId,
        now: Instant,
    ) {
        let is_gone = |name: &&String| !all.contains_key(name.as_str());
        let gone: Vec<JobId> =
            self.by_name.iter().filter(|(name, _)| is_gone(name)).map(|(_, row)| row.clone()).collect();
        for row in gone {
            // It may have begun a job and ended it since the last report. The next list tells.
            self.began(&row, false, now);
            self.ended(&row, false, now);
        }
        for (name, (pool, is_busy)) in all {
            let row = self.by_name.get(*name).cloned().unwrap_or_else(|| {
                let row = row(name);
                let runner = Runner { name: Some((*name).to_owned()), ..Runner::new((*pool).clone(), now) };
                self.insert(row.clone(), runner);
                row
            });
            if *is_busy {
                self.began(&row, false, now);
            }
        }
        self.forget(now);
    }

    /// Whether one was made for this job, which may not have been taken off the list of those that wait. One that ended without
    /// a job is there for none.
    pub(crate) fn is_for(&self, job: u64) -> bool {
        let is_there = |stage: Stage| !matches!(stage, Stage::Over { began: None, .. });
        self.by_job.values().any(|runner| runner.job == Some(job) && is_there(runner.stage))
    }

    /// Runners of a pool that have a job.
    pub(crate) fn busy(&self, pool: &PoolName) -> u32 {
        self.count(pool, |stage| matches!(stage, Stage::Busy { .. }))
    }

    /// Runners of a pool that have none yet.
    pub(crate) fn idle(&self, pool: &PoolName) -> u32 {
        self.count(pool, |stage| stage == Stage::Idle)
    }

    /// Of a pool's idle runners those beyond the first `jobs`, if they have been there for `longest`.
    pub(crate) fn idle_beyond(
        &self,
        pool: &PoolName,
        jobs: u32,
        now: Instant,
        longest: Duration,
    ) -> Vec<JobId> {
        let mut idle: Vec<(&JobId, &Runner)> = self
            .by_job
            .iter()
            .filter(|(_, runner)| runner.pool == *pool && runner.stage == Stage::Idle)
            .collect();
        idle.sort_by_key(|(_, runner)| runner.since);
        let beyond = idle.into_iter().skip(usize::try_from(jobs).unwrap_or(usize::MAX)).rev();
        let old = |runner: &Runner| now.saturating_duration_since(runner.since) >= longest;
        beyond.filter(|(_, runner)| old(runner)).map(|(job, _)| job.clone()).collect()
    }

    /// Forgets runners that ended and of which nothing more is expected.
    pub(crate) fn forget(&mut self, now: Instant) {
        let done = |stage: Stage| match stage {
            Stage::Over { known, since, .. } => known || now.saturating_duration_since(since) >= AHEAD,
            _ => false,
        };
        let gone: Vec<JobId> =
            self.by_job.iter().filter(|(_, runner)| done(runner.stage)).map(|(job, _)| job.clone()).collect();
        for job in gone {
            self.remove(&job);
        }
    }

    fn count(&self, pool: &PoolName, which: impl Fn(Stage) -> bool) -> u32 {
        let count = self.by_job.values().filter(|runner| runner.pool == *pool && which(runner.stage)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
