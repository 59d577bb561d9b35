//! Before a machine is frozen whose PID 1 is the image's own init: that has come up, and what it has written is on the disk.
//!
//! systemd says itself when it is up. Other inits do not: they are up when the guest has come to rest.
//!
//! And before a machine is used that has booted with such an init: that has done what would harm whoever is there already.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::answer::answer;
use crate::reaper::Reaper;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The same before a machine is used, for which somebody may wait.
const SOON: Duration = Duration::from_millis(250);
/// A machine whose init has not set up the system by then is used as it is. The host allows for it.
const SET_UP: Duration = Duration::from_secs(60);
/// The unit that cleans up, and what comes after it, for images that have it not.
const CLEANED: [&str; 2] = ["systemd-tmpfiles-setup.service", "sysinit.target"];
/// A guest that has not come to rest by then never will, and is as good as it gets.
const RESTLESS: Duration = Duration::from_secs(60);
/// Of a processor, in percent, that a guest at rest may use.
const REST: u64 = 10;

/// Waits for the image's init, then writes back what is to be written.
pub(crate) fn settle(reaper: &Reaper, timeout: Duration) -> Result<(), String> {
    let (began, mut activity) = (Instant::now(), Activity::now());
    loop {
        let lacks = match Init::now() {
            Init::NotYet => "it has not started yet".to_owned(),
            Init::Systemd => match systemd(reaper)?.as_str() {
                "running" => break,
                state => format!("systemd says '{state}'"),
            },
            Init::Other => {
                let before = std::mem::replace(&mut activity, Activity::now());
                if activity.is_rest_since(&before) || began.elapsed() >= RESTLESS {
                    break;
                }
                "it still starts programs, or computes".to_owned()
            }
        };
        if began.elapsed() >= timeout {
            return Err(format!("it was not up within {} s: {lacks}", timeout.as_secs()));
        }
        std::thread::sleep(LOOK);
    }
    rustix::fs::sync();
    Ok(())
}

/// Waits until systemd has mounted its file systems and cleaned up: it empties `/tmp`, where a job would have its files already. Not for
/// all of `sysinit.target`, of which cloud-init is a part. Other inits cannot be asked.
pub(crate) fn set_up(reaper: &Reaper) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let lacks = match Init::now() {
            Init::NotYet => "it has not started yet".to_owned(),
            Init::Systemd => {
                let states = asked(reaper, &[&["systemctl", "is-active"][..], &CLEANED].concat())?;
                if states.lines().any(|state| state == "active") {
                    return Ok(());
                }
                format!("neither of {} is active", CLEANED.join(", "))
            }
            Init::Other => return Ok(()),
        };
        if began.elapsed() >= SET_UP {
            return Err(format!("it has not set up the system within {} s: {lacks}", SET_UP.as_secs()));
        }
        std::thread::sleep(SOON);
    }
}

/// What PID 1 is.
#[derive(Debug, PartialEq)]
enum Init {
    /// Still the agent that hands over.
    NotYet,
    Systemd,
    Other,
}

impl Init {
    fn now() -> Self {
        let file = |path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        let exe = std::fs::read_link("/proc/1/exe").unwrap_or_default();
        if file("/proc/1/exe") == file("/proc/self/exe") {
            Self::NotYet
        } else if exe.file_name().is_some_and(|name| name == "systemd") {
            Self::Systemd
        } else {
            Self::Other
        }
    }
}

/// What systemd says of itself. An error when that is never going to be better.
fn systemd(reaper: &Reaper) -> Result<String, String> {
    let state = asked(reaper, &["systemctl", "is-system-running"])?;
    match state.as_str() {
        "degraded" => {
            let failed = answer(reaper, &["systemctl", "list-units", "--failed", "--plain", "--no-legend"])?;
            let units: Vec<&str> = failed.lines().filter_map(|line| line.split_whitespace().next()).collect();
            Err(format!("systemd is up, but these units failed: {}", units.join(" ")))
        }
        state @ ("maintenance" | "stopping") => Err(format!("systemd says '{state}'")),
        state => Ok(state.to_owned()),
    }
}

/// What systemd answers.
fn asked(reaper: &Reaper, argv: &[&str]) -> Result<String, String> {
    // It is asked there before there is a bus.
    if !Path::new("/run/systemd/private").exists() {
        return Ok("starting".to_owned());
    }
    answer(reaper, argv).map(|said| said.trim().to_owned())
}

/// What the guest has done since its boot.
#[derive(Debug, Default, Clone)]
struct Activity {
    /// Hundredths of a second of all processors together.
    all: u64,
    /// The same that were idle, and nobody waited for a disk.
    idle: u64,
    /// Processes and threads that were started.
    started: u64,
}

impl Activity {
    fn now() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// Reads `/proc/stat`, proc(5).
    fn parse(text: &str) -> Self {
        let mut activity = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let name = words.next();
            let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
            match name {
                Some("cpu") => {
                    // The guest's own guests are counted in the first two already.
                    activity.all = numbers.iter().take(8).sum();
                    activity.idle = numbers.get(3).copied().unwrap_or(0);
                }
                Some("processes") => activity.started = numbers.first().copied().unwrap_or(0),
                _ => {}
            }
        }
        activity
    }

    fn is_rest_since(&self, before: &Self) -> bool {
        let (all, idle) = (self.all.saturating_sub(before.all), self.idle.saturating_sub(before.idle));
        all > 0 && self.started == before.started && all.saturating_sub(idle) * 100 <= all * REST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_an_idle_processor_and_no_new_process() {
        let at = |busy: u64, idle: u64, wait: u64, started: u64| {
            Activity::parse(&format!(
                "cpu  {busy} 0 0 {idle} {wait} 0 0 0 7 0\ncpu0 1 2 3\nintr 5 5\nprocesses {started}\n"
            ))
        };
        let before = at(100, 100, 0, 40);
        assert!(at(105, 195, 0, 40).is_rest_since(&before));
        assert!(!at(105, 195, 0, 41).is_rest_since(&before), "it has started something");
        assert!(!at(150, 150, 0, 40).is_rest_since(&before), "it computes");
        assert!(!at(105, 150, 45, 40).is_rest_since(&before), "it waits for its disk");
        assert!(!before.is_rest_since(&before), "no time has passed");
    }

    #[test]
    fn the_agent_itself_is_no_init() {
        assert_ne!(Init::now(), Init::NotYet, "here, PID 1 is another program");
    }
}
