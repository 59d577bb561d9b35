//! For the tests that kill the server between two steps: built only with the feature `failpoints`.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// `FIREACTIONS_KILL_AT=NAME[#N]`: the process kills itself with SIGKILL when it comes to the fail point for the Nth
/// time (the first, if N is absent). Nothing is closed, flushed or told. `FIREACTIONS_STOP_AT` is the same with
/// SIGSTOP: a process that hangs.
pub(crate) fn arm() {
    signal_at("FIREACTIONS_KILL_AT", Signal::KILL);
    signal_at("FIREACTIONS_STOP_AT", Signal::STOP);
}

fn signal_at(variable: &str, signal: Signal) {
    let Ok(wanted) = std::env::var(variable) else { return };
    let (name, times) = match wanted.split_once('#') {
        Some((name, times)) => (name.to_owned(), times.parse().unwrap_or(1)),
        None => (wanted, 1),
    };
    let seen = AtomicU32::new(0);
    let told = fail::cfg_callback(&name, move || {
        if seen.fetch_add(1, Ordering::SeqCst) + 1 == times {
            let _ = kill_process(getpid(), signal);
        }
    });
    if let Err(error) = told {
        eprintln!("{variable}: {error}");
    }
}
