//! Whether a submission is worth being read on: its specification by the rules that hold everywhere. The engine has its own
//! limits beside.

use fireactions_model::{JobSpec, SpecLimits};

use crate::Fault;
use crate::engine::Result;

/// Problems that are named; a hostile specification has thousands.
const NAMED: usize = 5;

/// Refuses a specification that no machine could carry out.
pub(crate) fn check(spec: &JobSpec) -> Result<()> {
    let problems = spec.problems(&SpecLimits::WIDEST);
    if problems.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = problems.iter().take(NAMED).map(ToString::to_string).collect();
    if problems.len() > NAMED {
        named.push(format!("and {} more", problems.len() - NAMED));
    }
    Err(Fault::invalid(format!("the job is not valid: {}", named.join("; "))))
}
