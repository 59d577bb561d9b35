//! Why a queued job waits: from what is known to one reason. No IO, no memory: the same facts give the same words.

use fireactions_model::{MachineView, Place, Step, WaitReason};
use fireactions_pool::{Obstacle, Outlook};
use jiff::Timestamp;

use super::image_progress::ImageProgress;

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Where the forge would have it run.
    pub(super) place: Place,
    /// What its pool says; nothing where there is no pool.
    pub(super) outlook: Option<Outlook>,
    /// The machine that it will get, or that those before it wait for.
    pub(super) machine: Option<MachineView>,
    /// How far that machine's image is.
    pub(super) image: Option<ImageProgress>,
    /// Now.
    pub(super) now: Timestamp,
}

/// The machine that a job with so many of its like before it will get. While failures let only one be tried at a
/// time, all of them wait for how that one does.
pub(super) fn machine_for(outlook: &Outlook, ahead: u32) -> Option<&fireactions_model::MachineId> {
    let coming = &outlook.line.coming;
    let own = usize::try_from(ahead).ok().and_then(|ahead| coming.get(ahead));
    own.or_else(|| coming.last().filter(|_| outlook.backoff.is_some()))
}

/// The most telling reason.
pub(super) fn reason(facts: &Facts) -> WaitReason {
    let pool = match &facts.place {
        Place::Nowhere { nearest, lacks } => {
            return WaitReason::NoPool { nearest: nearest.clone(), lacks: lacks.clone() };
        }
        Place::Pool { pool, .. } => pool.clone(),
    };
    let Some(outlook) = &facts.outlook else { return WaitReason::Turn { pool } };
    if let Some(drained) = &outlook.drained {
        return WaitReason::Drained(drained.clone());
    }
    if outlook.paused {
        return WaitReason::Paused { pool };
    }
    // One that has a job by now is not the job's any more; the next look finds it another.
    if let Some(machine) = facts.machine.as_ref().filter(|machine| machine.state.is_idle_capacity()) {
        // Views tell of steps within a state late: one that is just created may be at its image already.
        return match &facts.image {
            Some(ImageProgress { percent, status }) if machine.step <= Step::Image => WaitReason::Image {
                pool,
                image: machine.shape.image.clone(),
                percent: *percent,
                status: status.clone(),
            },
            _ => WaitReason::Starting { pool, machine: machine.id.clone(), state: machine.state },
        };
    }
    match outlook.line.obstacle {
        Some(Obstacle::TooLarge) => WaitReason::TooLarge { pool },
        Some(Obstacle::Maximum) => WaitReason::PoolAtMaximum { pool, max: outlook.max },
        Some(Obstacle::HostFull) => {
            let held = outlook.held;
            WaitReason::HostFull { pool, held: held.machines, held_mib: held.memory_mib }
        }
        Some(Obstacle::Backoff) | None => match &outlook.backoff {
            Some(backoff) if backoff.until > facts.now => WaitReason::BackingOff {
                pool,
                until: backoff.until,
                failures: backoff.failures,
                error: backoff.reason.clone(),
            },
            _ => WaitReason::Turn { pool },
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fireactions_model::{
        Backoff, Drained, ImageRef, Label, MachineId, MachineState, PhaseTimes, PoolName, Shape,
    };
    use fireactions_pool::{Held, Line};

    use super::*;

    fn pool() -> PoolName {
        PoolName::new("p").unwrap()
    }

    fn shape() -> Shape {
        Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 1, memory_mib: 512, disk_mib: 100 }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn id(n: u8) -> MachineId {
        MachineId::from_random([n; 8])
    }

    fn machine(state: MachineState, step: Step) -> MachineView {
        MachineView {
            id: id(1),
            pool: pool(),
            shape: shape(),
            state,
            step,
            job: None,
            pid: None,
            address: None,
            failure: None,
            phases: PhaseTimes::new(),
            created_at: at(0),
            state_since: at(0),
            held_until: None,
            hold_secs: None,
            started: None,
            unrecorded: None,
        }
    }

    /// A pool in which everything stands in the way, to be taken away piece by piece.
    fn worst() -> Facts {
        Facts {
            place: Place::Pool { pool: pool(), shape: shape(), ahead: 0 },
            outlook: Some(Outlook {
                drained: Some(Drained { since: at(-60), why: "new disks".to_owned() }),
                paused: true,
                max: 3,
                line: Line { coming: vec![id(1)], obstacle: Some(Obstacle::Backoff) },
                backoff: Some(Backoff { failures: 2, until: at(9), reason: "no such image".to_owned() }),
                held: Held { machines: 2, memory_mib: 1152 },
            }),
            machine: Some(machine(MachineState::Creating, Step::Image)),
            image: Some(ImageProgress { percent: Some(40), status: "pulling".to_owned() }),
            now: at(0),
        }
    }

    #[test]
    fn every_kind_in_its_order() {
        let mut facts = worst();
        let mut told = BTreeMap::new();
        let mut tell = |n: u32, facts: &Facts| told.insert(n, reason(facts).to_string());
        let lacks = vec![Label::new("gpu").unwrap()];
        let nowhere = Place::Nowhere { nearest: Some(pool()), lacks };
        tell(1, &Facts { place: nowhere, ..worst() });
        tell(2, &Facts { place: Place::Nowhere { nearest: None, lacks: Vec::new() }, ..worst() });
        tell(3, &facts);
        facts.outlook.as_mut().unwrap().drained = None;
        tell(4, &facts);
        facts.outlook.as_mut().unwrap().paused = false;
        tell(5, &facts);
        facts.image.as_mut().unwrap().percent = None;
        tell(6, &facts);
        facts.machine = Some(machine(MachineState::Booting, Step::Spawned));
        tell(7, &facts);
        // It has a job by now.
        facts.machine = Some(machine(MachineState::Busy, Step::Running));
        tell(8, &facts);
        facts.machine = None;
        facts.now = at(10);
        tell(9, &facts);
        for (n, obstacle) in [(10, Obstacle::TooLarge), (11, Obstacle::Maximum), (12, Obstacle::HostFull)] {
            facts.outlook.as_mut().unwrap().line.obstacle = Some(obstacle);
            tell(n, &facts);
        }
        facts.outlook.as_mut().unwrap().held = Held::default();
        tell(13, &facts);
        facts.outlook.as_mut().unwrap().line.obstacle = None;
        tell(14, &facts);
        facts.outlook = None;
        tell(15, &facts);
        let lines: Vec<String> = told.into_iter().map(|(n, text)| format!("{n}: {text}")).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        1: no pool has all its labels; the nearest, 'p', lacks 'gpu'
        2: no pool is active
        3: the host is drained since 2023-11-14T22:12:20Z: new disks
        4: pool 'p' is paused
        5: pool 'p': image 'debian:12' is being fetched (pulling, 40 %)
        6: pool 'p': image 'debian:12' is being fetched (pulling)
        7: pool 'p': machine m1802g04018 is starting (booting)
        8: pool 'p': next attempt at 2023-11-14T22:13:29Z, after 2 failures in a row: no such image
        9: pool 'p': a machine is about to be started
        10: pool 'p': the job needs a machine larger than the host's whole budget
        11: pool 'p': all 3 of its machines are in use
        12: pool 'p': the host's budget of CPUs or memory is used up, and 2 held machines take 1152 MiB of it
        13: pool 'p': the host's budget of CPUs or memory is used up
        14: pool 'p': a machine is about to be started
        15: pool 'p': a machine is about to be started
        ");
    }

    #[test]
    fn each_job_waits_for_its_own_machine_and_while_one_is_tried_all_for_that() {
        let mut outlook = worst().outlook.unwrap();
        outlook.backoff = None;
        outlook.line.coming = vec![id(1), id(2)];
        assert_eq!(machine_for(&outlook, 0), Some(&id(1)));
        assert_eq!(machine_for(&outlook, 1), Some(&id(2)));
        assert_eq!(machine_for(&outlook, 2), None);
        outlook.backoff = worst().outlook.unwrap().backoff;
        assert_eq!(machine_for(&outlook, 7), Some(&id(2)));
    }
}
