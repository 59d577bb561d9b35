//! Which runner gets which job, and what time does.

use std::time::Instant;

use super::known::jobs::{Assignment, Entry, JobId, JobStatus};
use super::state::State;

impl State {
    /// Does what is due: what time has run out for, then jobs for those who can run them.
    pub(super) fn go_on(&mut self) {
        self.expire_runners();
        self.requeue_forgotten();
        self.route_to_sets();
        self.offer();
        self.assign();
        self.write_messages();
        self.remember();
    }

    /// Gives each idle runner the oldest job that it may run.
    fn assign(&mut self) {
        let idle: Vec<u64> =
            self.runners.entries.values().filter(|entry| entry.is_idle()).map(|e| e.public.id).collect();
        for runner in idle {
            if let Some(job) = self.fitting(runner) {
                self.give(job, runner);
            }
        }
    }

    fn fitting(&self, runner: u64) -> Option<JobId> {
        let runner = &self.runners.entries[&runner];
        let fits = |job: &&Entry| {
            let waits = job.public.status == JobStatus::Queued && job.assigned.is_none();
            waits
                && match (job.set, runner.public.scale_set) {
                    (Some(way), Some(set)) => way.set == set && way.acquired.is_some(),
                    (None, None) => {
                        self.accounts.serves(runner.scope, runner.public.group, job.repository)
                            && runner.has(&job.public.request.labels)
                    }
                    _ => false,
                }
        };
        self.jobs.entries.values().find(fits).map(|job| job.public.id)
    }

    fn give(&mut self, id: JobId, runner: u64) {
        let assigned_at = self.clock.now();
        let entry = self.runners.entries.get_mut(&runner).expect("runners stay");
        entry.public.job = Some(id);
        let runner_name = entry.public.name.clone();
        let job = self.job(id);
        job.assigned = Some(Instant::now());
        let (picked_up_at, outcome) = (None, None);
        job.public.assignments.push(Assignment {
            runner_id: runner,
            runner_name,
            assigned_at,
            picked_up_at,
            outcome,
        });
        self.touch();
    }
}
