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
    /// The last look that saw it.
    look: u64,
}

/// The machines as they were seen.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    seen: HashMap<MachineId, Age>,
    /// How many looks there were. What is new after the first is new.
    looks: u64,
}

impl Ages {
    /// Takes in the machines as they are now. Of those that an earlier server made, only their rows know their age.
    pub(crate) fn look<'a>(
        &mut self,
        views: impl IntoIterator<Item = &'a MachineView>,
        now: Instant,
        wall: Timestamp,
    ) {
        let began = self.looks > 0;
        self.looks += 1;
        let look = self.looks;
        let ago = |then: Timestamp| {
            let ago = Duration::try_from(wall.duration_since(then)).unwrap_or_default();
            now.checked_sub(ago).filter(|_| !began).unwrap_or(now)
        };
        // In place: this is done with a thousand machines for each change of one.
        for view in views {
            let state = view.state;
            if let Some(age) = self.seen.get_mut(&view.id) {
                let entered = if age.state == state { age.entered } else { now };
                *age = Age { state, entered, look, ..*age };
            } else {
                let (entered, born) = (ago(view.state_since), ago(view.created_at));
                self.seen.insert(view.id.clone(), Age { state, entered, born, look });
            }
        }
        self.seen.retain(|_, age| age.look == look);
    }

    /// Time in its state, and in all.
    pub(crate) fn of(&self, id: &MachineId, now: Instant) -> (Duration, Duration) {
        let age = self.seen.get(id);
        age.map(|age| (now - age.entered, now - age.born)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use fireactions_model::{ImageRef, PhaseTimes, PoolName, Shape, Step};

    use super::*;

    fn machine(state: MachineState, since: Timestamp) -> MachineView {
        let image = ImageRef::new("debian").unwrap();
        MachineView {
            id: MachineId::from_random([1; 8]),
            pool: PoolName::new("a").unwrap(),
            shape: Shape { image, vcpus: 1, memory_mib: 512, disk_mib: 100 },
            state,
            step: Step::Ready,
            job: None,
            pid: None,
            address: None,
            failure: None,
            phases: PhaseTimes::new(),
            created_at: since,
            state_since: since,
            held_until: None,
            hold_secs: None,
            started: None,
            unrecorded: None,
        }
    }

    #[test]
    fn a_clock_that_is_set_makes_no_machine_older_or_younger() {
        const MINUTE: Duration = Duration::from_secs(60);
        let (mut ages, start) = (Ages::default(), Instant::now() + 1000 * MINUTE);
        let wall = Timestamp::from_second(1_700_000_000).unwrap();
        // What an earlier server made is as old as its row says.
        let old = machine(MachineState::Ready, wall - 3 * MINUTE);
        ages.look([&old], start, wall);
        assert_eq!(ages.of(&old.id, start), (3 * MINUTE, 3 * MINUTE));
        for stepped in [wall + 120 * MINUTE, wall - 120 * MINUTE] {
            ages.look([&old], start + MINUTE, stepped);
            assert_eq!(ages.of(&old.id, start + MINUTE), (4 * MINUTE, 4 * MINUTE));
        }
        let busy = MachineView { state: MachineState::Busy, ..old };
        ages.look([&busy], start + 2 * MINUTE, wall);
        assert_eq!(ages.of(&busy.id, start + 3 * MINUTE), (MINUTE, 6 * MINUTE));
        // One that this server made is new, whatever the clock was when its row was written.
        let new = MachineView {
            id: MachineId::from_random([2; 8]),
            ..machine(MachineState::Ready, wall - 120 * MINUTE)
        };
        ages.look([&busy, &new], start + 3 * MINUTE, wall);
        assert_eq!(ages.of(&new.id, start + 3 * MINUTE), (Duration::ZERO, Duration::ZERO));
    }
}
