//! Reaping what this process became the parent of. As a subreaper it gets every orphan of its children, and a process that has
//! ended keeps its number until its parent asks how.
//!
//! Most are asked for by whoever watches them, within milliseconds. One that has ended and is still there at the next look is
//! nobody's.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Orphans cost a process number each and nothing else.
const PERIOD: Duration = Duration::from_secs(30);

/// Looks for ever, beside everything else.
pub(crate) fn reap_for_ever() {
    tokio::spawn(async {
        let mut orphans = Orphans::default();
        loop {
            tokio::time::sleep(PERIOD).await;
            let look = move || {
                let reaped = orphans.look();
                (orphans, reaped)
            };
            // Only the end of the runtime keeps a look from being made.
            let Ok((after, reaped)) = tokio::task::spawn_blocking(look).await else { return };
            orphans = after;
            if reaped > 0 {
                tracing::debug!(reaped, "orphaned processes ended");
            }
        }
    });
}

/// Children that had ended at the last look, with the times at which they had started: a number is used again.
#[derive(Debug, Default)]
struct Orphans {
    ended: HashMap<u32, String>,
}

impl Orphans {
    /// Reaps those that nobody asked for since the last look; how many.
    fn look(&mut self) -> usize {
        let before = std::mem::take(&mut self.ended);
        let mut reaped = 0;
        for pid in children() {
            let Some(started) = ended(pid) else { continue };
            if before.get(&pid) != Some(&started) {
                self.ended.insert(pid, started);
                continue;
            }
            let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            reaped += usize::from(matches!(waitid(WaitId::Pid(number), options), Ok(Some(_))));
        }
        reaped
    }
}

/// The numbers of this process's children: each thread has its own.
fn children() -> Vec<u32> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let list = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

/// When a process that has ended had started, in the kernel's clock; `None` while it runs.
fn ended(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    (fields.next()? == "Z").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_orphan_is_reaped_and_a_child_that_is_asked_for_is_not() {
        rustix::process::set_child_subreaper(Pid::from_raw(1)).unwrap();
        let mut parent = Command::new("sh")
            .args(["-c", "sleep 0.1 & echo $!; exec sleep 0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut orphan = String::new();
        // The orphan holds the pipe as well: its end is the end of this.
        parent.stdout.take().unwrap().read_to_string(&mut orphan).unwrap();
        let orphan: u32 = orphan.trim().parse().unwrap();
        assert!(parent.wait().unwrap().success());
        let mut own = Command::new("true").spawn().unwrap();
        while ended(orphan).is_none() || ended(own.id()).is_none() {
            std::thread::yield_now();
        }

        let mut orphans = Orphans::default();
        assert_eq!(orphans.look(), 0, "who watches it may be on the way");
        assert!(own.wait().unwrap().success());
        assert_eq!(orphans.look(), 1);
        assert!(ended(orphan).is_none() && !children().contains(&orphan));
        assert_eq!(orphans.look(), 0);
    }
}
