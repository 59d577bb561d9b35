//! The disks of a pool's machines that outlive them: where they are, and as what a guest knows them.

use std::path::{Path, PathBuf};

use fireactions_guest_proto::StickyDisk;
use fireactions_model::{PoolSpec, StickyDir};

/// Letter of the first of these disks: root and scratch disk come before.
const FIRST: u8 = b'c';

/// The disk of this number, in a machine's directory.
pub(crate) fn file(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("sticky{number}.ext4"))
}

/// Names of the drives of a pool's machines, and where they are.
pub(crate) fn drives(pool: &PoolSpec, directory: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    (0..pool.sticky.len()).map(|number| (format!("sticky{number}"), file(directory, number)))
}

/// The same, as a guest is told.
pub(crate) fn disks(pool: &PoolSpec) -> Vec<StickyDisk> {
    let disk = |(letter, dir): (u8, &StickyDir)| StickyDisk {
        device: format!("/dev/vd{}", char::from(letter)),
        path: dir.path.clone(),
    };
    (FIRST..).zip(&pool.sticky).map(disk).collect()
}

#[cfg(test)]
mod tests {
    use fireactions_model::{ImageRef, PoolName, Shape};

    use super::*;

    #[test]
    fn a_guest_is_told_of_the_disks_that_it_has() {
        let image = ImageRef::new("debian:12").unwrap();
        let shape = Shape { image, vcpus: 1, memory_mib: 64, disk_mib: 64 };
        let dir = |path: &str| StickyDir { path: path.into(), key: "k".into(), size_mib: 64 };
        let pool = PoolSpec {
            sticky: vec![dir("/a"), dir("/b")],
            ..PoolSpec::new(PoolName::new("p").unwrap(), shape)
        };
        let told: Vec<(String, String)> =
            disks(&pool).into_iter().map(|disk| (disk.device, disk.path)).collect();
        assert_eq!(told, [("/dev/vdc".into(), "/a".into()), ("/dev/vdd".into(), "/b".into())]);
        let drives: Vec<_> = drives(&pool, Path::new("/m")).collect();
        assert_eq!(drives[1], ("sticky1".to_owned(), PathBuf::from("/m/sticky1.ext4")));
    }
}
