//! Looking for machines' processes, whoever started them and whether or not it was written down.
//!
//! A look at every process costs the host some microseconds each, so those who ask at the same time share one. It is
//! made on a thread that may wait: reading the arguments of a process that is stuck in the kernel can hang.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fireactions_model::MachineId;
use tokio::sync::Mutex;

use crate::VmmError;
use crate::apart::Ours;
use crate::process::{self, NetNamespace};

/// How long the arguments of a process may take to be read.
const ARGUMENTS: Duration = Duration::from_secs(5);

/// Reads a machine's mark from a process's arguments.
pub(crate) type Marked = fn(&[Vec<u8>]) -> Option<MachineId>;

/// Finds one driver's processes by their mark: those that are the server's.
#[derive(Debug)]
pub(crate) struct Scanner {
    marked: Marked,
    whose: Whose,
    latest: Mutex<Option<Arc<Scan>>>,
}

/// One look at all processes.
#[derive(Debug)]
pub(crate) struct Scan {
    began: Instant,
    found: Vec<(MachineId, u32)>,
}

impl Scan {
    /// Machines and the processes that carry their mark.
    pub(crate) fn found(&self) -> impl Iterator<Item = &(MachineId, u32)> {
        self.found.iter()
    }
}

impl Scanner {
    /// For machines that are `ours`; without that, for those in the network namespace of the calling thread.
    pub(crate) fn new(marked: Marked, ours: Option<Ours>) -> Self {
        Self { marked, whose: Whose { own: NetNamespace::own(), ours }, latest: Mutex::default() }
    }

    /// What a look finds that begins after the call.
    pub(crate) async fn look(&self) -> Result<Arc<Scan>, VmmError> {
        let asked = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some(scan) = latest.as_ref().filter(|scan| scan.began >= asked) {
            return Ok(Arc::clone(scan));
        }
        let began = Instant::now();
        let (marked, whose) = (self.marked, self.whose.clone());
        let failed = |source| VmmError::Process { action: "look at", pid: 0, source };
        let look = move || -> std::io::Result<_> {
            let all = process::all()?.into_iter();
            Ok(all.filter_map(|pid| Some((mark_of(pid, marked, &whose)?, pid))).collect())
        };
        let found = tokio::task::spawn_blocking(look).await.map_err(|error| failed(error.into()))?;
        let scan = Arc::new(Scan { began, found: found.map_err(failed)? });
        *latest = Some(Arc::clone(&scan));
        Ok(scan)
    }

    /// Whether this process carries the machine's mark.
    ///
    /// # Errors
    /// Its arguments cannot be read in time: it is stuck in the kernel.
    pub(crate) async fn carries(&self, pid: u32, id: &MachineId) -> Result<bool, VmmError> {
        let marked = self.marked;
        let look = tokio::task::spawn_blocking(move || marked(&process::arguments(pid)));
        let late = |_| VmmError::Timeout {
            id: id.clone(),
            what: "show its arguments in /proc: it is stuck in the kernel, where a disk hangs perhaps",
            deadline: ARGUMENTS,
        };
        let found = tokio::time::timeout(ARGUMENTS, look).await.map_err(late)?;
        Ok(found.ok().flatten().as_ref() == Some(id))
    }

    /// Whether this process of the machine's is one of this server's.
    pub(crate) fn is_ours(&self, id: &MachineId, pid: u32) -> bool {
        self.whose.has(id, pid)
    }
}

/// Tells this server's processes from another's of the host.
#[derive(Debug, Clone)]
struct Whose {
    own: Option<NetNamespace>,
    ours: Option<Ours>,
}

impl Whose {
    /// By what the server has of the machine, where that is known: another server can be in the same namespace. A process whose
    /// namespace cannot be known is not ours; without `/proc` of our own, none is.
    fn has(&self, id: &MachineId, pid: u32) -> bool {
        NetNamespace::of(pid).is_some_and(|namespace| {
            self.ours.as_ref().map_or(self.own == Some(namespace), |ours| ours.is(id))
        })
    }
}

fn mark_of(pid: u32, marked: Marked, whose: &Whose) -> Option<MachineId> {
    marked(&process::arguments(pid)).filter(|id| whose.has(id, pid))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn those_who_ask_at_the_same_time_share_a_look() {
        let scanner = Arc::new(Scanner::new(|_| None, None));
        // Nobody looks before all have asked, however fast a look is.
        let held = scanner.latest.lock().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let asking: Vec<_> = (0..50)
            .map(|_| (Arc::clone(&scanner), Arc::clone(&asked)))
            .map(|(scanner, asked)| {
                tokio::spawn(async move {
                    let look = scanner.look();
                    asked.fetch_add(1, Ordering::SeqCst);
                    look.await.unwrap()
                })
            })
            .collect();
        while asked.load(Ordering::SeqCst) < 50 {
            tokio::task::yield_now().await;
        }
        drop(held);
        let mut looks = Vec::new();
        for asked in asking {
            looks.push(asked.await.unwrap());
        }
        looks.dedup_by(|a, b| Arc::ptr_eq(a, b));
        assert_eq!(looks.len(), 1);
        let (first, second) = (scanner.look().await.unwrap(), scanner.look().await.unwrap());
        assert!(!Arc::ptr_eq(&first, &second), "what was seen before the question is no answer");
    }
}
