//! How a scale set stands.

use serde_json::Value;

use super::super::known::jobs::JobStatus;
use super::super::known::sets::Statistics;
use super::super::state::State;

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
