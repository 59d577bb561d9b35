//! For the tests that kill the server between two steps: built only with the feature `failpoints`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// `FIREACTIONS_KILL_AT=NAME[#N]`: the process kills itself with SIGKILL when it comes to the fail point for the Nth
/// time (the first, if N is absent). Nothing is closed, flushed or told. `FIREACTIONS_STOP_AT` is the same with
/// SIGSTOP: a process that hangs.
///
/// `FIREACTIONS_FAIL_WHILE=NAME=FILE`: while this file is there, the fail point makes what it stands in fail.
pub(crate) fn arm() {
    signal_at("FIREACTIONS_KILL_AT", Signal::KILL);
    signal_at("FIREACTIONS_STOP_AT", Signal::STOP);
    fail_while("FIREACTIONS_FAIL_WHILE");
}

fn fail_while(variable: &str) {
    let Ok(wanted) = std::env::var(variable) else { return };
    let Some((name, file)) = wanted.split_once('=') else {
        eprintln!("{variable}: NAME=FILE is wanted");
        return;
    };
    let (name, file) = (name.to_owned(), PathBuf::from(file));
    std::thread::spawn(move || {
        loop {
            let told = fail::cfg(&name, if file.exists() { "return" } else { "off" });
            if let Err(error) = told {
                eprintln!("FIREACTIONS_FAIL_WHILE: {error}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
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
