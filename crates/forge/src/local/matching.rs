//! Which pool serves which job.

use fireactions_model::{ImageRef, JobSpec, Labels, Place, PoolSpec, Shape};

/// What a job needs of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Needs {
    labels: Labels,
    image: Option<ImageRef>,
    vcpus: Option<u8>,
    memory_mib: Option<u32>,
    disk_mib: Option<u32>,
}

impl Needs {
    pub(super) fn of(spec: &JobSpec) -> Self {
        Self {
            labels: spec.labels.iter().cloned().collect(),
            image: spec.image.clone(),
            vcpus: spec.vcpus,
            memory_mib: spec.memory_mib,
            disk_mib: spec.disk_mib,
        }
    }

    /// The job's own wishes over the pool's shape.
    pub(super) fn shape(&self, pool: &Shape) -> Shape {
        Shape {
            image: self.image.clone().unwrap_or_else(|| pool.image.clone()),
            vcpus: self.vcpus.unwrap_or(pool.vcpus),
            memory_mib: self.memory_mib.unwrap_or(pool.memory_mib),
            disk_mib: self.disk_mib.unwrap_or(pool.disk_mib),
        }
    }

    /// True when a machine of `shape` in `pool` can run the job.
    pub(super) fn fit(&self, pool: &PoolSpec, shape: &Shape) -> bool {
        pool.labels.is_superset(&self.labels) && self.shape(&pool.shape) == *shape
    }

    /// The pool that machines are made in for the job: of those with all its labels the one with the fewest,
    /// the first of equals. One that may have no machines comes last: it may be scaled. Err: no pool will do.
    pub(super) fn choose<'a>(&self, pools: &'a [PoolSpec]) -> Result<&'a PoolSpec, Place> {
        pools
            .iter()
            .filter(|pool| pool.labels.is_superset(&self.labels))
            .min_by_key(|pool| (pool.max_runners == 0, pool.labels.len()))
            .ok_or_else(|| self.missing(pools.iter()))
    }

    fn missing<'a>(&self, pools: impl Iterator<Item = &'a PoolSpec>) -> Place {
        let lacking = |pool: &PoolSpec| self.labels.difference(&pool.labels).cloned().collect::<Vec<_>>();
        let nearest = pools.map(|pool| (lacking(pool), pool)).min_by_key(|(lacks, _)| lacks.len());
        match nearest {
            Some((lacks, pool)) => Place::Nowhere { nearest: Some(pool.name.clone()), lacks },
            None => Place::Nowhere { nearest: None, lacks: Vec::new() },
        }
    }
}
