//! Our runners: what each is at, as far as anything has told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fireactions_model::{JobId, PoolName};

use super::{AHEAD, BEHIND};

/// What a runner is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::github) enum Stage {
    /// It is to take a job and has none: it is being registered, is starting, or listens.
    Idle,
    /// It has begun a job; `known` once GitHub has said so, and not only the runner's own log.
    Busy {
        /// GitHub has said which.
        known: bool,
        /// Since when.
        since: Instant,
    },
    /// Its job or its machine has ended; GitHub may not have said so yet.
    Over {
        /// GitHub has said so.
        known: bool,
        /// Since when.
        since: Instant,
        /// When it began a job of which GitHub has not said that it waits no more.
        began: Option<Instant>,
    },
}

/// A runner.
#[derive(Debug, Clone)]
pub(in crate::github) struct Runner {
    pub(in crate::github) pool: PoolName,
    /// Its name at GitHub, once that is written down.
    pub(in crate::github) name: Option<String>,
    pub(in crate::github) stage: Stage,
    since: Instant,
}

impl Runner {
    pub(in crate::github) fn new(pool: PoolName, now: Instant) -> Self {
        Self { pool, name: None, stage: Stage::Idle, since: now }
    }

    /// When it began a job that GitHub may still count as one that waits.
    fn is_ahead(&self) -> Option<Instant> {
        match self.stage {
            Stage::Busy { known: false, since } => Some(since),
            Stage::Over { began, .. } => began,
            Stage::Idle | Stage::Busy { .. } => None,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::github) struct Runners {
    by_job: HashMap<JobId, Runner>,
    by_name: HashMap<String, JobId>,
}

impl Runners {
    pub(in crate::github) fn insert(&mut self, job: JobId, runner: Runner) {
        if let Some(name) = &runner.name {
            self.by_name.insert(name.clone(), job.clone());
        }
        self.by_job.insert(job, runner);
    }

    pub(in crate::github) fn remove(&mut self, job: &JobId) {
        if let Some(name) = self.by_job.remove(job).and_then(|runner| runner.name) {
            self.by_name.remove(&name);
        }
    }

    /// The runner's name is written down.
    pub(in crate::github) fn name(&mut self, job: &JobId, name: &str) {
        if let Some(runner) = self.by_job.get_mut(job) {
            runner.name = Some(name.to_owned());
            self.by_name.insert(name.to_owned(), job.clone());
        }
    }

    pub(in crate::github) fn get(&self, job: &JobId) -> Option<&Runner> {
        self.by_job.get(job)
    }

    /// The job under which a runner of this name is kept.
    pub(in crate::github) fn named(&self, name: &str) -> Option<&JobId> {
        self.by_name.get(name)
    }

    /// The runner has begun a job. False when that is no news. `known`: by GitHub's word.
    pub(in crate::github) fn began(&mut self, job: &JobId, known: bool, now: Instant) -> bool {
        let Some(runner) = self.by_job.get_mut(job) else { return false };
        match &mut runner.stage {
            Stage::Over { began, .. } => return known && began.take().is_some(),
            Stage::Busy { known: before, .. } if *before || !known => return false,
            Stage::Idle | Stage::Busy { .. } => {}
        }
        runner.stage = Stage::Busy { known, since: now };
        true
    }

    /// GitHub has just been asked for the pool's jobs that wait, from `asked` on: what runners had begun well before is none
    /// of them.
    pub(in crate::github) fn audited(&mut self, pool: &PoolName, asked: Instant) {
        let before = |began: Instant| began + BEHIND < asked;
        for runner in self.by_job.values_mut().filter(|runner| runner.pool == *pool) {
            match &mut runner.stage {
                Stage::Busy { known, since } => *known |= before(*since),
                Stage::Over { began, .. } => *began = began.filter(|began| !before(*began)),
                Stage::Idle => {}
            }
        }
    }

    /// GitHub has just said that a job of the pool's waits no more: that is the one which the first of the runners began that
    /// are ahead of GitHub's word. False when none is.
    pub(in crate::github) fn caught_up(&mut self, pool: &PoolName) -> bool {
        let ahead = self.by_job.values_mut().filter(|runner| runner.pool == *pool);
        let ahead = ahead.filter_map(|runner| Some((runner.is_ahead()?, runner)));
        let Some((_, runner)) = ahead.min_by_key(|(began, _)| *began) else { return false };
        match &mut runner.stage {
            Stage::Busy { known, .. } => *known = true,
            Stage::Over { began, .. } => *began = None,
            Stage::Idle => {}
        }
        true
    }

    /// The runner's job has ended, or the runner has. False when that is no news.
    pub(in crate::github) fn ended(&mut self, job: &JobId, known: bool, now: Instant) -> bool {
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

    /// Runners of a pool that cover jobs which are still counted as wanted. A scale set counts a job until GitHub has heard
    /// of its end; without one, a job is counted until GitHub has said that it began, by the webhook or in an audit, even if
    /// it has ended meanwhile.
    pub(in crate::github) fn covering(&self, pool: &PoolName, set: bool, now: Instant) -> u32 {
        let ahead = |since: Instant| now.saturating_duration_since(since) < AHEAD;
        self.count(pool, |stage| match stage {
            Stage::Idle => true,
            Stage::Busy { known, .. } => set || !known,
            Stage::Over { known, since, began } => ahead(since) && if set { !known } else { began.is_some() },
        })
    }

    /// Runners of a pool that have a job.
    pub(in crate::github) fn busy(&self, pool: &PoolName) -> u32 {
        self.count(pool, |stage| matches!(stage, Stage::Busy { .. }))
    }

    /// Runners of a pool that have none yet.
    pub(in crate::github) fn idle(&self, pool: &PoolName) -> u32 {
        self.count(pool, |stage| stage == Stage::Idle)
    }

    /// Of a pool's idle runners those beyond the first `jobs`, if they have been there for `longest`.
    pub(in crate::github) fn idle_beyond(
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
    pub(in crate::github) fn forget(&mut self, now: Instant) {
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
