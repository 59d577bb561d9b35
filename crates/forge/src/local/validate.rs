//! Whether a submitted job can be, within this queue's limits.

use fireactions_model::{JobSpec, SpecLimits, SpecProblem};

use super::Limits;

/// All problems of a job, or none.
pub(super) fn validate(spec: &JobSpec, limits: &Limits) -> Result<(), Vec<SpecProblem>> {
    let Limits { input_bytes, files, artifacts, program_bytes, vcpus, memory_mib, disk_mib, timeout_secs } =
        *limits;
    let limits = SpecLimits {
        input_bytes,
        files,
        artifacts,
        program_bytes,
        vcpus,
        memory_mib,
        disk_mib,
        timeout_secs,
    };
    let problems = spec.problems(&limits);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
