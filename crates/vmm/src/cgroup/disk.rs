//! Limits of a machine's share of a disk of the host.
//!
//! The VMM's own limiter is the one that a guest meets. This one stands behind it, for a guest that has taken its VMM over.
//! Under cgroup v1 the kernel does not know whose the pages are that it writes back later: there only reads, and writes
//! past the page cache, are limited.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fireactions_model::DiskLimits;

use super::{Hierarchy, write};
use crate::VmmError;

/// A block device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device(u32, u32);

/// What a machine may ask of a device, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskLimit {
    device: Device,
    limits: DiskLimits,
}

impl DiskLimit {
    /// The limits of the disk that holds this file; `None` when there are none, or no disk that can be told.
    pub(crate) fn of(limits: DiskLimits, file: &Path) -> Option<Self> {
        let any = limits.mib_per_second.is_some() || limits.iops.is_some();
        any.then(|| device_of(file)).flatten().map(|device| Self { device, limits })
    }

    pub(super) fn set(&self, hierarchy: &Hierarchy, dir: &Path) -> Result<(), VmmError> {
        let Device(major, minor) = self.device;
        let bytes = self.limits.mib_per_second.map(|mib| u64::from(mib) << 20);
        let operations = self.limits.iops.map(u64::from);
        match hierarchy {
            Hierarchy::V2(_) => {
                let value = |limit: Option<u64>| limit.map_or("max".to_owned(), |limit| limit.to_string());
                let (bytes, operations) = (value(bytes), value(operations));
                let line = format!(
                    "{major}:{minor} rbps={bytes} wbps={bytes} riops={operations} wiops={operations}"
                );
                write(&dir.join("io.max"), &line)
            }
            Hierarchy::V1(_) => {
                for (unit, limit) in [("bps", bytes), ("iops", operations)] {
                    let Some(limit) = limit else { continue };
                    for way in ["read", "write"] {
                        let file = dir.join(format!("blkio.throttle.{way}_{unit}_device"));
                        write(&file, &format!("{major}:{minor} {limit}"))?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The whole disk that a file is on: the kernel limits disks, not partitions. `None` for storage that is none to the
/// kernel's block layer (btrfs, overlayfs, tmpfs, a network).
fn device_of(file: &Path) -> Option<Device> {
    let number = std::fs::metadata(file).ok()?.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let dir = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    if !dir.join("partition").exists() {
        return Some(Device(major, minor));
    }
    let text = std::fs::read_to_string(dir.parent()?.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(Device(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DiskLimits = DiskLimits { mib_per_second: Some(2), iops: None };

    #[test]
    fn both_versions_are_told_in_their_own_words() {
        let limit = DiskLimit { device: Device(254, 16), limits: LIMITS };
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        for name in ["io.max", "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"] {
            std::fs::write(file(name), "").unwrap();
        }
        limit.set(&Hierarchy::V2(dir.path().to_owned()), dir.path()).unwrap();
        limit.set(&Hierarchy::V1(dir.path().to_owned()), dir.path()).unwrap();
        let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
        assert_eq!(text("io.max"), "254:16 rbps=2097152 wbps=2097152 riops=max wiops=max");
        assert_eq!(text("blkio.throttle.read_bps_device"), "254:16 2097152");
        assert_eq!(text("blkio.throttle.write_bps_device"), "254:16 2097152");
    }

    #[test]
    fn nothing_is_limited_unasked_or_where_there_is_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DiskLimit::of(DiskLimits::default(), dir.path()), None);
        assert_eq!(DiskLimit::of(LIMITS, Path::new("/proc/self/stat")), None);
    }
}
