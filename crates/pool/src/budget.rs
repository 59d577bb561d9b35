//! What machines may use of the host.

use fireactions_model::{Room, Shape, Share, Spare};

/// The host's budget, with overcommit already applied. Zero means that there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Virtual CPUs of all machines together.
    pub vcpus: u32,
    /// Memory of all machines with their overhead, in MiB.
    pub memory_mib: u64,
    /// Overhead of each machine beyond its guest memory, in MiB.
    pub machine_overhead_mib: u32,
}

/// A part of the budget. Signed: what is promised may exceed what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    vcpus: i64,
    memory: i64,
}

impl Budget {
    /// Everything.
    pub(crate) fn total(&self) -> Size {
        let limit = |n: u64| if n == 0 { i64::MAX / 4 } else { i64::try_from(n).unwrap_or(i64::MAX / 4) };
        Size { vcpus: limit(u64::from(self.vcpus)), memory: limit(self.memory_mib) }
    }

    /// Memory that a machine of this shape takes with its overhead, in MiB.
    pub(crate) fn memory_of(&self, shape: &Shape) -> u64 {
        u64::from(shape.memory_mib) + u64::from(self.machine_overhead_mib)
    }

    /// What a machine of this shape takes.
    pub(crate) fn need(&self, shape: &Shape) -> Size {
        Size {
            vcpus: i64::from(shape.vcpus),
            memory: i64::from(shape.memory_mib) + i64::from(self.machine_overhead_mib),
        }
    }

    /// What machines of these shapes take of it: virtual CPUs, and memory in MiB.
    pub(crate) fn taken<'a>(&self, shapes: impl Iterator<Item = &'a Shape>) -> [Share; 2] {
        let used = shapes.fold(Size::default(), |sum, shape| sum.plus(self.need(shape)));
        let share = |used: i64, of: u64| Share {
            used: u64::try_from(used).unwrap_or_default(),
            of: Some(of).filter(|of| *of > 0),
        };
        [share(used.vcpus, self.vcpus.into()), share(used.memory, self.memory_mib)]
    }

    /// What machines of these shapes leave of it.
    pub(crate) fn room<'a>(&self, shapes: impl Iterator<Item = &'a Shape>) -> Room {
        let [vcpus, memory] = self.taken(shapes);
        let left = |share: Share| Some(share.of?.saturating_sub(share.used));
        Room {
            vcpus: left(vcpus).map(|left| u32::try_from(left).unwrap_or(u32::MAX)),
            memory_mib: left(memory),
            machine_overhead_mib: self.machine_overhead_mib,
        }
    }

    /// The larger of the two fractions of the budget that `used` is, in millionths: dominant-resource fairness.
    pub(crate) fn share(&self, used: Size) -> i64 {
        let total = self.total();
        let part = |used: i64, total: i64| used.saturating_mul(1_000_000) / total.max(1);
        part(used.vcpus, total.vcpus).max(part(used.memory, total.memory))
    }
}

impl Size {
    /// `other` fits into this.
    pub(crate) const fn holds(self, other: Self) -> bool {
        self.vcpus >= other.vcpus && self.memory >= other.memory
    }

    /// What others may use of this room; nothing of what is promised beyond what is there.
    pub(crate) fn spare(self, budget: &Budget) -> Spare {
        Spare {
            vcpus: u32::try_from(self.vcpus.max(0)).unwrap_or(u32::MAX),
            memory_mib: u64::try_from(self.memory.max(0)).unwrap_or_default(),
            machine_overhead_mib: budget.machine_overhead_mib,
        }
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            vcpus: self.vcpus.saturating_add(other.vcpus),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        Self {
            vcpus: self.vcpus.saturating_sub(other.vcpus),
            memory: self.memory.saturating_sub(other.memory),
        }
    }
}
