//! Room for images and scratch disks, and what their file system can do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fireactions_config::Config;
use fireactions_vmm::firecracker::unfit_for_jails;
use rustix::fs::{StatVfs, statvfs};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::Finding;
use super::checks::{ACTIONS_CACHE, INODES, JAILS, LINKS, REFLINK, SPACE};

const MIB: u64 = 1 << 20;
/// Less than this is not enough for one usual image and its conversion.
const LITTLE: u64 = 2048 * MIB;
const TOO_LITTLE: u64 = 256 * MIB;
/// A machine has some ten files, an image fewer.
const FEW_INODES: u64 = 10_000;

const ROOM: &str = "make room (`fireactions image gc`), or set state_dir to a larger file system";
const CHECK: &str = "set state_dir to a directory on a working file system";

pub(super) fn all(config: &Config) -> Vec<Finding> {
    let state: &Path = &config.state_dir;
    // The directory may be made only when the server starts.
    let stat = match state.ancestors().find(|path| path.exists()) {
        Some(there) => statvfs(there).map_err(|error| format!("{}: {error}", there.display())),
        None => Err(format!("{} cannot be reached", state.display())),
    };
    let mut findings = match stat {
        Ok(stat) => vec![space(state, stat.f_bavail.saturating_mul(stat.f_frsize)), inodes(&stat)],
        Err(why) => vec![Finding::error(&SPACE, why, CHECK)],
    };
    findings.push(actions_cache(config));
    findings.push(reflink(state, geteuid().is_root().then(|| share(state)).flatten()));
    findings.push(jails(state, super::firecracker::jailed(config)));
    findings.push(links(&devices(state)));
    findings
}

fn jails(state: &Path, jailed: bool) -> Finding {
    if !jailed {
        return Finding::ok(&JAILS, "no jailer is used");
    }
    // Machines are in a directory below, which may be a mount of its own.
    let run = state.join("run");
    match run.ancestors().find(|path| path.exists()).map(unfit_for_jails) {
        Some(Ok(Some(why))) => Finding::error(
            &JAILS,
            why,
            "mount it without these options, or set state_dir to another file system",
        ),
        Some(Ok(None)) => Finding::ok(&JAILS, "neither nodev nor noexec"),
        Some(Err(_)) | None => {
            Finding::warning(&JAILS, format!("{} cannot be checked", run.display()), CHECK)
        }
    }
}

fn space(state: &Path, free: u64) -> Finding {
    let found = format!("{} MiB free for {}", free / MIB, state.display());
    match free {
        0..TOO_LITTLE => Finding::error(&SPACE, found, ROOM),
        TOO_LITTLE..LITTLE => Finding::warning(&SPACE, found, ROOM),
        _ => Finding::ok(&SPACE, found),
    }
}

fn actions_cache(config: &Config) -> Finding {
    let own = &config.actions_cache;
    if !own.enabled {
        return Finding::ok(&ACTIONS_CACHE, "off (actions_cache.enabled)");
    }
    let directory = own.directory(&config.state_dir);
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(&directory);
    match statvfs(there) {
        // Its limit is the bucket's; here are uploads alone, which give way.
        Ok(_) if own.s3.is_some() => {
            Finding::ok(&ACTIONS_CACHE, format!("uploads wait in {}", directory.display()))
        }
        Ok(stat) => {
            let all = stat.f_blocks.saturating_mul(stat.f_frsize) / MIB;
            room_for_cache(&directory, all, own.max_size_mib, own.keep_free_mib)
        }
        Err(error) => {
            let found = format!("{} cannot be checked: {error}", directory.display());
            Finding::warning(&ACTIONS_CACHE, found, "set actions_cache.storage_dir to another directory")
        }
    }
}

/// What else is on the file system is not looked at: the cache gives way to it.
fn room_for_cache(directory: &Path, all: u64, most: u64, free: u64) -> Finding {
    let found =
        format!("{} may have {most} MiB of {all} MiB, {free} MiB of which stay free", directory.display());
    if most.saturating_add(free) <= all {
        return Finding::ok(&ACTIONS_CACHE, found);
    }
    let advice =
        "make actions_cache.max_size_mib smaller, or set actions_cache.storage_dir to a larger file system";
    Finding::warning(&ACTIONS_CACHE, found, advice)
}

fn inodes(stat: &StatVfs) -> Finding {
    judge_inodes(stat.f_files, stat.f_favail)
}

fn judge_inodes(all: u64, free: u64) -> Finding {
    match (all, free) {
        // btrfs makes them as they are needed.
        (0, _) => Finding::ok(&INODES, "not limited by the file system"),
        (_, free @ 0..FEW_INODES) => Finding::warning(&INODES, format!("{free} free of {all}"), ROOM),
        _ => Finding::ok(&INODES, format!("{free} free of {all}")),
    }
}

/// Tries it on two files without a name, which leave nothing; `None` when the directory is not there yet.
fn share(state: &Path) -> Option<Result<(), Errno>> {
    use std::io::Write;
    if !state.is_dir() {
        return None;
    }
    let (mut from, to) = (tempfile::tempfile_in(state).ok()?, tempfile::tempfile_in(state).ok()?);
    from.write_all(&[1; 4096]).ok()?;
    from.sync_data().ok()?;
    Some(rustix::fs::ioctl_ficlone(&to, &from))
}

fn reflink(state: &Path, tried: Option<Result<(), Errno>>) -> Finding {
    let shown = state.display();
    match tried {
        Some(Ok(())) => Finding::ok(&REFLINK, format!("files in {shown} share blocks")),
        Some(Err(error)) => Finding::warning(
            &REFLINK,
            format!("files in {shown} cannot share blocks ({error}): each new scratch disk is a sparse copy"),
            "put state_dir on XFS (mkfs.xfs -m reflink=1) or btrfs; ext4 works, a little slower",
        ),
        None => Finding::ok(&REFLINK, format!("not tried: {shown} does not exist yet, or is not writable")),
    }
}

/// Directories that exist, with the file system of each.
fn devices(state: &Path) -> Vec<(String, u64)> {
    let names = ["", "run", "boot", "images", "scratch"];
    let there = names.iter().filter_map(|name| Some((*name, fs::metadata(state.join(name)).ok()?.dev())));
    there
        .map(|(name, device)| {
            (if name.is_empty() { "state_dir".to_owned() } else { name.to_owned() }, device)
        })
        .collect()
}

fn links(devices: &[(String, u64)]) -> Finding {
    let Some((_, first)) = devices.first() else {
        return Finding::ok(
            &LINKS,
            "state_dir is created when the server starts, with everything in it on one file system",
        );
    };
    let other: Vec<&str> =
        devices.iter().filter(|(_, device)| device != first).map(|(name, _)| name.as_str()).collect();
    if other.is_empty() {
        return Finding::ok(&LINKS, "all of state_dir is on one file system");
    }
    Finding::warning(
        &LINKS,
        format!(
            "on another file system than state_dir: {}; files that could be linked into a machine's directory are copied",
            other.join(", ")
        ),
        "mount one file system at state_dir, and none below it",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Error, Ok as Fine, Warning};
    use super::*;

    #[test]
    fn little_room_is_said() {
        let of = |free| space(Path::new("/x"), free).severity;
        assert_eq!([of(MIB), of(1024 * MIB), of(1 << 40)], [Error, Warning, Fine]);
        let of = |all, free| judge_inodes(all, free).severity;
        assert_eq!([of(0, 0), of(1 << 20, 9), of(1 << 20, 1 << 19)], [Fine, Warning, Fine]);
        assert!(all(&Config::default())[0].found.contains("MiB free for /var/lib/fireactions"));
    }

    #[test]
    fn sharing_blocks_is_tried_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tried = share(dir.path()).unwrap();
        assert!(matches!(tried, Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOTTY)), "{tried:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(share(&dir.path().join("absent")), None);
        let of = |tried| reflink(Path::new("/x"), tried).severity;
        assert_eq!([of(None), of(Some(Ok(()))), of(Some(Err(Errno::OPNOTSUPP)))], [Fine, Fine, Warning]);
    }

    #[test]
    fn another_file_system_below_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(links(&devices(&dir.path().join("absent"))).severity, Fine);
        fs::create_dir(dir.path().join("run")).unwrap();
        let mut found = devices(dir.path());
        assert_eq!((found.len(), links(&found).severity), (2, Fine));
        found[1].1 += 1;
        let finding = links(&found);
        assert!(finding.severity == Warning && finding.found.contains("state_dir: run;"), "{finding:?}");
    }
}
