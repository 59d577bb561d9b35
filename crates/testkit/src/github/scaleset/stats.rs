//! How a scale set stands.

use serde_json::{Value, json};

use super::super::jobs::JobStatus;
use super::super::state::State;

/// A scale set's numbers, as its messages have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Jobs that may be acquired.
    pub available: u64,
    /// Jobs acquired and not yet assigned; the fake assigns at once.
    pub acquired: u64,
    /// Jobs assigned to the set, running ones included.
    pub assigned: u64,
    /// Jobs that a runner has begun.
    pub running: u64,
    /// Runners of the set.
    pub registered: u64,
    /// Those with a job.
    pub busy: u64,
    /// Those connected and without one.
    pub idle: u64,
}

impl State {
    pub(super) fn statistics(&self, set: u64) -> Statistics {
        let mut found = Statistics::default();
        for job in self.jobs.entries.values() {
            let Some(way) = job.set.filter(|way| way.set == set) else { continue };
            match (job.public.status, way.acquired) {
                (JobStatus::Completed, _) => {}
                (_, None) => found.available += 1,
                (status, Some(_)) => {
                    found.assigned += 1;
                    found.running += u64::from(status == JobStatus::InProgress);
                }
            }
        }
        let runners = self.runners.entries.values().filter(|entry| entry.is_listed());
        for runner in runners.filter(|entry| entry.public.scale_set == Some(set)) {
            found.registered += 1;
            found.busy += u64::from(runner.public.job.is_some());
            found.idle += u64::from(runner.is_idle());
        }
        found
    }

    pub(super) fn statistics_object(&self, set: u64) -> Value {
        self.statistics(set).object()
    }
}

impl Statistics {
    /// As the service writes them.
    pub(super) fn object(&self) -> Value {
        json!({
            "totalAvailableJobs": self.available,
            "totalAcquiredJobs": self.acquired,
            "totalAssignedJobs": self.assigned,
            "totalRunningJobs": self.running,
            "totalRegisteredRunners": self.registered,
            "totalBusyRunners": self.busy,
            "totalIdleRunners": self.idle,
        })
    }
}
