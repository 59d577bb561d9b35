//! Sums over the jobs, for the metrics.

use std::collections::BTreeMap;

use fireactions_model::JobState;

use crate::row::name;
use crate::{Store, StoreError};

impl Store {
    /// How many jobs are in each state; states without jobs are absent.
    pub async fn job_counts(&self) -> Result<BTreeMap<JobState, u64>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")?;
            let mut rows = query.query([])?;
            let mut counts = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let jobs: i64 = row.get("jobs")?;
                counts.insert(name(row, "state")?, u64::try_from(jobs).unwrap_or(0));
            }
            Ok(counts)
        })
        .await
    }
}
