//! SIGTERM and SIGINT, taken by a thread of their own.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

/// Whether this program was told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terminated {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Terminated {
    /// Takes the signals from now on. To be called before there is another thread, for threads inherit the mask;
    /// programs that are started do not.
    pub(crate) fn watch() -> Result<Self, String> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        signals.thread_block().map_err(|error| format!("signals cannot be blocked: {error}"))?;
        let terminated = Self::default();
        let told = terminated.clone();
        std::thread::spawn(move || {
            while signals.wait().is_ok() {
                *told.state.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                told.state.1.notify_all();
            }
        });
        Ok(terminated)
    }

    /// Waits that long; true as soon as the signal is there.
    pub(crate) fn within(&self, time: Duration) -> bool {
        let told = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.state.1.wait_timeout_while(told, time, |told| !*told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
