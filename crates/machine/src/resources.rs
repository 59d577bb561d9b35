//! A machine's resources on the host: directory, scratch disk, tap, address, user.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fireactions_image::scratch::{self, ScratchError};
use fireactions_model::{FailureKind, MachineId, NetworkPolicy, PoolSpec, Shape};
use fireactions_net::{Network, Port};
use fireactions_vmm::boot::BootFiles;
use fireactions_vmm::{Drive, Nic, Start, VmSpec};
use tokio::time::{Instant, timeout};

use crate::end::End;
use crate::parts::Parts;
use crate::sticky_disks;

/// Disk, tap and process are made in milliseconds; a host that takes this long is not well.
pub(crate) const HOST_DEADLINE: Duration = Duration::from_secs(30);

/// Everything of the host's that is one machine's alone, by its id and slot.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    id: MachineId,
    pub(crate) slot: u32,
    /// Sockets, console and scratch disk.
    pub(crate) directory: PathBuf,
    /// User and group of its VMM process.
    uid: u32,
    tap: String,
    mac: [u8; 6],
    address: Ipv4Addr,
    address6: Option<Ipv6Addr>,
}

impl Resources {
    pub(crate) fn new(parts: &Parts, id: &MachineId, slot: u32) -> Result<Self, End> {
        let address = parts.network.address(slot).ok_or_else(|| {
            End::because(FailureKind::Host, "the subnet has no address left; make network.subnet larger")
        })?;
        Ok(Self {
            id: id.clone(),
            slot,
            directory: parts.settings.machine_dir(id),
            uid: parts.settings.uid_base + slot,
            tap: Network::tap_name(id),
            mac: Network::mac(slot),
            address,
            address6: parts.network.address6(slot),
        })
    }

    fn scratch(&self) -> PathBuf {
        self.directory.join("scratch.ext4")
    }

    /// User and group of the VMM process.
    pub(crate) fn owner(&self) -> (u32, u32) {
        (self.uid, self.uid)
    }

    /// Makes the directory. To be called first: where a machine has no row, a later server knows it by this.
    pub(crate) async fn make_directory(&self) -> Result<(), End> {
        make_run_dir(&self.directory).await
    }

    /// Makes the scratch disk, in place of one that a guest may have touched.
    pub(crate) async fn make_disk(&self, parts: &Parts, pool: &PoolSpec, shape: &Shape) -> Result<(), End> {
        scratch::create(&parts.settings.scratch_dir, &self.scratch(), size(pool, shape), self.owner())
            .await
            .map_err(|e| End::failed(FailureKind::Host, "scratch disk", &e))
    }

    /// Makes the scratch disk a copy of the one that was frozen with this template, in place of what is there.
    pub(crate) async fn copy_disk(&self, template: &Path) -> Result<(), ScratchError> {
        scratch::copy(template, &self.scratch(), self.owner()).await
    }

    /// Makes the scratch disk of a machine that is frozen a part of its template; its VMM is dead.
    pub(crate) async fn keep_disk(
        &self,
        template: &Path,
        pool: &PoolSpec,
        shape: &Shape,
    ) -> Result<(), ScratchError> {
        scratch::keep(&self.scratch(), template, size(pool, shape)).await
    }

    /// Makes the tap, with the address's rules.
    pub(crate) async fn attach(&self, parts: &Parts, policy: &NetworkPolicy) -> Result<(), End> {
        let port = Port {
            machine: self.id.clone(),
            tap: self.tap.clone(),
            address: self.address,
            address6: self.address6,
            mac: self.mac,
            owner_uid: self.uid,
            policy: policy.clone(),
        };
        parts.network.attach(&port).await.map_err(|e| End::failed(FailureKind::Host, "network", &e))
    }

    /// The machine with these resources, to be booted, without metadata.
    pub(crate) fn spec(
        &self,
        parts: &Parts,
        pool: &PoolSpec,
        shape: &Shape,
        root: &Path,
        boot: BootFiles,
    ) -> VmSpec {
        let mut drives = vec![
            Drive { id: "root".into(), path: root.to_owned(), read_only: true },
            Drive { id: "scratch".into(), path: self.scratch(), read_only: false },
        ];
        // Before the modules, which not every kernel has: the guest is told by their places.
        let sticky = sticky_disks::drives(pool, &self.directory);
        drives.extend(sticky.map(|(id, path)| Drive { id, path, read_only: false }));
        drives.extend(boot.modules.clone().map(|path| Drive { id: "modules".into(), path, read_only: true }));
        VmSpec {
            id: self.id.clone(),
            boot,
            cmdline_extra: pool.kernel.args.clone(),
            vcpus: shape.vcpus,
            memory_mib: shape.memory_mib,
            drives,
            nics: vec![Nic {
                tap: self.tap.clone(),
                mac: self.mac,
                bandwidth_mbit: pool.network.bandwidth_mbit,
            }],
            run_dir: self.directory.clone(),
            uid: self.uid,
            gid: self.uid,
            console_max: parts.settings.console_max,
            init: pool.init,
            start: Start::Boot,
            hardware: pool.hardware.clone(),
            guest: pool.guest.clone(),
            metadata: None,
        }
    }
}

fn size(pool: &PoolSpec, shape: &Shape) -> scratch::Size {
    scratch::Size { mib: shape.disk_mib, bytes_per_inode: pool.hardware.bytes_per_inode }
}

/// A directory that only the server can enter: the VMM gets open descriptors and listening sockets.
async fn make_run_dir(directory: &Path) -> Result<(), End> {
    let failed = |e: std::io::Error| {
        End::failed(FailureKind::Host, &format!("run directory {}", directory.display()), &e)
    };
    // A machine id is never used twice, so nothing can be there.
    tokio::fs::create_dir(directory).await.map_err(failed)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// What a host that is well does within [`HOST_DEADLINE`].
pub(crate) async fn in_time<T>(what: &str, effect: impl Future<Output = T>) -> Result<T, End> {
    timeout(HOST_DEADLINE, effect).await.map_err(|_| {
        let why = format!("{what} took over {HOST_DEADLINE:?}; the host is overloaded or its disk hangs");
        End::because(FailureKind::Host, why)
    })
}

/// Runs both at once. With the first, how long it took; with the second, how much longer that one took. Phases follow
/// one another: the two times make up the time until both were done.
pub(crate) async fn side_by_side<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> ((A, Duration), (B, Duration)) {
    let began = Instant::now();
    let (first, second) =
        tokio::join!(async { (first.await, began.elapsed()) }, async { (second.await, began.elapsed()) });
    let longer = second.1.saturating_sub(first.1);
    (first, (second.0, longer))
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_done_at_once_takes_no_time_twice() {
        let millis = Duration::from_millis;
        for (disk, net, longer) in [(30, 50, 20), (50, 30, 0), (0, 40, 40)] {
            let (((), first), ((), second)) = side_by_side(sleep(millis(disk)), sleep(millis(net))).await;
            assert_eq!((first, second), (millis(disk), millis(longer)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_hangs_is_not_waited_for() {
        assert_eq!(in_time("the disk", async { 1 }).await.unwrap(), 1);
        let end = in_time("the disk", std::future::pending::<()>()).await.unwrap_err();
        assert!(end.to_string().starts_with("the disk took over 30s"), "{end}");
    }
}
