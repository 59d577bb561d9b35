//! The host as a whole: what the pools know of it, with what they do not.

use std::path::Path;

use fireactions_machine::Machinery;
use fireactions_model::{HostView, Machines, Share};
use rustix::fs::statvfs;

/// Completes the pools' view of the host.
pub(super) async fn view(mut host: HostView, machines: &Machinery, state: &Path) -> HostView {
    host.budget.slots = Share { used: machines.views().len() as u64, of: Some(u64::from(machines.slots())) };
    let state = state.to_owned();
    // A disk that does not answer must not hold up others.
    host.budget.disk_mib = tokio::task::spawn_blocking(move || disk(&state)).await.ok().flatten();
    host
}

/// The file system that the directory is on, as df(1) counts: what is kept for root is neither taken nor free.
fn disk(directory: &Path) -> Option<Share> {
    let disk = statvfs(directory).ok()?;
    let mib = |blocks: u64| blocks.saturating_mul(disk.f_frsize) >> 20;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    Some(Share { used: mib(used), of: Some(mib(used.saturating_add(disk.f_bavail))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_of_a_disk_is_a_part_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let disk = disk(directory.path()).unwrap();
        assert!(disk.of.is_some_and(|of| of > 0 && disk.used <= of), "{disk:?}");
        assert_eq!(super::disk(&directory.path().join("gone")), None);
    }
}
