//! What machines use: one look at all of them, for whoever asks.
//!
//! A rate needs two looks. The one before is kept, so that who asks again and again gets the average since; only who comes first waits
//! a moment for a second one.

use std::collections::HashMap;
use std::time::Duration;

use fireactions_api::MachineUsage;
use fireactions_api::engine::Result;
use fireactions_machine::{Machinery, Usage};
use fireactions_model::MachineId;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Who asks again sooner gets the last answer: fifty pages that are open cost as much as one.
const FRESH: Duration = Duration::from_secs(1);
/// A look that is older says nothing about now.
const STALE: Duration = Duration::from_secs(10);
/// Between the first two looks: long enough for a rate, for the kernel counts in hundredths of a second where there are no cgroups.
const APART: Duration = Duration::from_millis(250);

/// The looks at the machines of one server.
#[derive(Default)]
pub(crate) struct Usages {
    last: Mutex<Option<Look>>,
}

struct Look {
    at: Instant,
    used: HashMap<MachineId, Usage>,
    told: Vec<MachineUsage>,
}

impl Usages {
    /// What machines use now.
    pub(super) async fn now(&self, machines: &Machinery) -> Result<Vec<MachineUsage>> {
        // Held over the looks, so that whoever asks at the same time gets the same.
        let mut last = self.last.lock().await;
        let before = match last.take_if(|last| last.at.elapsed() >= FRESH) {
            Some(before) if before.at.elapsed() < STALE => before,
            None if let Some(fresh) = &*last => return Ok(fresh.told.clone()),
            _ => {
                let first = look(machines).await?;
                sleep(APART).await;
                first
            }
        };
        let mut now = look(machines).await?;
        now.told = told(&before, &now);
        Ok(last.insert(now).told.clone())
    }
}

/// Looks at every machine: some files each, which a host that is busy may answer late.
async fn look(machines: &Machinery) -> Result<Look> {
    let machines = machines.clone();
    let used = tokio::task::spawn_blocking(move || machines.usage()).await;
    let used =
        used.map_err(|error| fireactions_api::Fault::internal(format!("looking at the machines: {error}")))?;
    Ok(Look { at: Instant::now(), used, told: Vec::new() })
}

/// In the order of their ids.
fn told(before: &Look, now: &Look) -> Vec<MachineUsage> {
    let passed = now.at - before.at;
    let of = |(machine, usage): (&MachineId, &Usage)| MachineUsage {
        machine: machine.clone(),
        memory: usage.memory,
        millicores: before
            .used
            .get(machine)
            .and_then(|then| rate(usage.cpu.saturating_sub(then.cpu), passed)),
    };
    let mut all: Vec<MachineUsage> = now.used.iter().map(of).collect();
    all.sort_by(|a, b| a.machine.cmp(&b.machine));
    all
}

fn rate(cpu: Duration, passed: Duration) -> Option<u64> {
    u64::try_from((cpu.as_micros() * 1000).checked_div(passed.as_micros())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_time_between_two_looks() {
        let (one, new) = (MachineId::from_random([1; 8]), MachineId::from_random([2; 8]));
        let at = Instant::now();
        let usage = |millis| Usage { memory: 7, cpu: Duration::from_millis(millis) };
        let look = |at, used| Look { at, used, told: Vec::new() };
        let before = look(at, HashMap::from([(one.clone(), usage(1000))]));
        let used = HashMap::from([(one.clone(), usage(4000)), (new.clone(), usage(9))]);
        let all = told(&before, &look(at + Duration::from_secs(2), used));
        let rates: HashMap<_, _> = all.iter().map(|one| (&one.machine, one.millicores)).collect();
        assert_eq!(rates, HashMap::from([(&one, Some(1500)), (&new, None)]));
        assert_eq!(rate(Duration::ZERO, Duration::ZERO), None);
    }
}
