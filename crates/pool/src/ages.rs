//! How long machines have been what they are, by a clock that nobody sets: a step of the one on the wall makes no machine
//! older.

use std::collections::HashMap;
use std::time::Duration;

use fireactions_model::{MachineId, MachineState, MachineView};
use jiff::Timestamp;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
struct Age {
    state: MachineState,
    entered: Instant,
    born: Instant,
}

/// The machines as they were seen.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    seen: HashMap<MachineId, Age>,
    /// Machines were looked at before: what is new then is new.
    began: bool,
}

impl Ages {
    /// Takes in the machines as they are now. Of those that an earlier server made, only their rows know their age.
    pub(crate) fn look(&mut self, views: &[MachineView], now: Instant, wall: Timestamp) {
        let began = std::mem::replace(&mut self.began, true);
        let ago = |then: Timestamp| {
            let ago = Duration::try_from(wall.duration_since(then)).unwrap_or_default();
            now.checked_sub(ago).filter(|_| !began).unwrap_or(now)
        };
        let mut before = std::mem::take(&mut self.seen);
        self.seen = views
            .iter()
            .map(|view| {
                let age = match before.remove(&view.id) {
                    Some(age) if age.state == view.state => age,
                    Some(age) => Age { state: view.state, entered: now, ..age },
                    None => {
                        Age { state: view.state, entered: ago(view.state_since), born: ago(view.created_at) }
                    }
                };
                (view.id.clone(), age)
            })
            .collect();
    }

    /// Time in its state, and in all.
    pub(crate) fn of(&self, id: &MachineId, now: Instant) -> (Duration, Duration) {
        let age = self.seen.get(id);
        age.map(|age| (now - age.entered, now - age.born)).unwrap_or_default()
    }
}
