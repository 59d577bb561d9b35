//! Memory of machines that wait for work: the guest gives back what it does not need, and gets it again before the work.
//!
//! Free page reporting does most of it by itself; this takes what the guest keeps as cache of its boot. A clone has booted
//! nothing: what its guest keeps is its template's, and shared.

use std::time::Duration;

use fireactions_model::StartMode;
use fireactions_vmm::Vm;
use tokio::time::{sleep, timeout};

use crate::parts::Parts;
use crate::record::Record;

/// A machine that gets work sooner is not troubled.
const AFTER: Duration = Duration::from_secs(10);
/// The VMM answers within milliseconds; the guest takes its time.
const DEADLINE: Duration = Duration::from_secs(2);
/// A guest keeps at least this many MiB, and at least a quarter of its memory.
const KEEPS: u32 = 256;

/// A waiting machine's memory.
pub(crate) struct Idle {
    vm: Vm,
    /// What it can do without, in MiB; 0 for nothing.
    spare: u32,
    /// It was asked for, by this server or perhaps by the one before.
    asked: bool,
}

impl Idle {
    pub(crate) fn new(parts: &Parts, record: &Record, vm: &Vm) -> Self {
        let able = parts.vmm.capabilities().balloon && record.view().started != Some(StartMode::Snapshot);
        let spare = if able { spare(record.view().shape.memory_mib) } else { 0 };
        Self { vm: vm.clone(), spare, asked: record.is_adopted() }
    }

    /// Takes the memory back once the machine has waited for a while; then pends for ever. Cancel-safe.
    pub(crate) async fn take_back(&mut self) {
        if self.spare > 0 {
            sleep(AFTER).await;
            self.asked = true;
            self.change(self.spare).await;
        }
        std::future::pending::<()>().await;
    }

    /// Gives everything back; the guest has it when it asks for it.
    pub(crate) async fn give_back(&self) {
        if self.spare > 0 && self.asked {
            self.change(0).await;
        }
    }

    async fn change(&self, mib: u32) {
        match timeout(DEADLINE, self.vm.balloon(mib)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(mib, %error, "a waiting machine's memory was not changed"),
            Err(_) => tracing::warn!(mib, "a waiting machine's memory was not changed within {DEADLINE:?}"),
        }
    }
}

/// What a guest of this size can do without while it waits, in MiB.
fn spare(memory_mib: u32) -> u32 {
    memory_mib.saturating_sub(KEEPS.max(memory_mib / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_guest_keeps_what_it_needs() {
        assert_eq!([64, 256, 512, 1024, 8192].map(spare), [0, 0, 256, 768, 6144]);
    }
}
