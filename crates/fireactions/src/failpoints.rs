//! For the tests that kill the server between two steps: built only with the feature `failpoints`.

use std::sync::atomic::{AtomicU32, Ordering};

/// `FIREACTIONS_KILL_AT=NAME[#N]`: the process kills itself with SIGKILL when it comes to the fail point for the Nth
/// time (the first, if N is absent). Nothing is closed, flushed or told.
pub(crate) fn arm() {
    let Ok(wanted) = std::env::var("FIREACTIONS_KILL_AT") else { return };
    let (name, times) = match wanted.split_once('#') {
        Some((name, times)) => (name.to_owned(), times.parse().unwrap_or(1)),
        None => (wanted, 1),
    };
    let seen = AtomicU32::new(0);
    let told = fail::cfg_callback(&name, move || {
        if seen.fetch_add(1, Ordering::SeqCst) + 1 == times {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    });
    if let Err(error) = told {
        eprintln!("FIREACTIONS_KILL_AT: {error}");
    }
}
