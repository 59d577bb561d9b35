//! The one place that waits for children: the agent's own, and as PID 1 every orphan of the guest.

use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fireactions_guest_proto::Exit;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// Starts children and waits for them.
pub(crate) struct Reaper {
    children: Mutex<Children>,
    changed: Condvar,
}

#[derive(Default)]
struct Children {
    /// Those that somebody will ask for, and how they ended.
    ours: BTreeMap<i32, Option<Exit>>,
    /// Counts starts, so that the reaper can sleep while there are no children at all.
    started: u64,
}

impl Reaper {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let reaper = Arc::new(Self { children: Mutex::default(), changed: Condvar::new() });
        let thread = Arc::clone(&reaper);
        std::thread::Builder::new().name("reaper".to_owned()).spawn(move || thread.reap())?;
        Ok(reaper)
    }

    /// Starts a child. Each must be asked for with [`Self::wait`] once.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<i32> {
        // Under the lock: the reaper may have the child before its pid is known here, and waits for the entry.
        let mut children = self.lock();
        let pid = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
        children.ours.insert(pid, None);
        children.started += 1;
        self.changed.notify_all();
        Ok(pid)
    }

    /// Waits until the child has ended. How long that takes is the job's business; its deadline is the host's.
    pub(crate) fn wait(&self, pid: i32) -> Exit {
        let mut children = self.lock();
        loop {
            match children.ours.get_mut(&pid).map(Option::take) {
                Some(Some(exit)) => {
                    children.ours.remove(&pid);
                    return exit;
                }
                Some(None) => {
                    children = self.changed.wait(children).unwrap_or_else(PoisonError::into_inner);
                }
                None => return Exit::Unstartable(format!("process {pid} is not a child of the agent")),
            }
        }
    }

    fn reap(&self) {
        loop {
            let started = self.lock().started;
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => self.collect(pid, status),
                Err(Errno::CHILD) => {
                    // Orphans come only from children; without any, the next start is soon enough.
                    let mut children = self.lock();
                    while children.started == started {
                        children = self.changed.wait(children).unwrap_or_else(PoisonError::into_inner);
                    }
                }
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn collect(&self, pid: Pid, status: WaitStatus) {
        let exit = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (_, Some(signal)) => Exit::Signal(signal),
            // Stopped or continued: not asked for, and no end.
            _ => return,
        };
        if let Some(slot) = self.lock().ours.get_mut(&pid.as_raw_nonzero().get()) {
            *slot = Some(exit);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
