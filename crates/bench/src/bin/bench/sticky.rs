//! Sticky directories: how long a machine waits for its copy of a large one, where the file system shares blocks (XFS on a loop
//! device) and where it does not.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use fireactions_bench::report::{Goal, Report, median, millis};
use fireactions_volumes::{Limits, Name, Volumes, Writer};

use crate::Args;

/// Room that the file system itself takes, in MiB, and that copies need while they are written.
const SPARE_MIB: u64 = 1024;

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mib = if args.quick { 256 } else { 5120 };
    report.load("sticky directories");
    let shared = Xfs::make(work, u64::from(mib) * 2 + SPARE_MIB)?;
    let took = copies(&shared.mounted, mib, args.times(20, 3))?;
    report.judged(
        format!("a sticky directory of {mib} MiB, all written, on XFS: ready (reflink)"),
        median(&took),
        "ms",
        Goal::AtMost(50.0),
    );
    drop(shared);
    // The other file system is the host's, whatever that is.
    let beside = work.join("sticky");
    std::fs::create_dir(&beside)?;
    let took = copies(&beside, mib, args.times(3, 1))?;
    let is_shared = median(&took) < 50.0;
    report.row("  on the file system of the inputs", median(&took), "ms");
    report.note(if is_shared {
        "sticky directories: the file system of the inputs shares blocks, too, so no copy was made there"
    } else {
        "sticky directories: the file system of the inputs shares no blocks; there it is a sparse copy"
    });
    std::fs::remove_dir_all(&beside)?;
    Ok(())
}

/// Milliseconds that copies of a volume of so many MiB take, one after the other.
fn copies(place: &Path, mib: u32, times: usize) -> anyhow::Result<Vec<f64>> {
    let limits = Limits { free: 0, ..Limits::default() };
    let volumes = Volumes::open(&place.join("volumes"), limits)?;
    let name = Name { owner: "pool/bench".to_owned(), key: "large".to_owned() };
    let written = place.join("written");
    let mut file = File::create(&written)?;
    std::io::copy(&mut File::open("/dev/urandom")?.take(u64::from(mib) << 20), &mut file)?;
    file.flush()?;
    drop(file);
    volumes.keep(&name, mib, &written, Writer { job: "bench".to_owned(), owner: 0 })?;
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut took = Vec::new();
    for _ in 0..times {
        let copy = place.join("copy");
        let began = Instant::now();
        ensure!(volumes.take(&name, mib, &copy, own)?.is_some(), "the volume is gone");
        took.push(millis(began.elapsed()));
        std::fs::remove_file(&copy)?;
    }
    Ok(took)
}

/// A file system that shares blocks, in a file.
struct Xfs {
    file: PathBuf,
    mounted: PathBuf,
}

impl Xfs {
    fn make(work: &Path, mib: u64) -> anyhow::Result<Self> {
        let made = Self { file: work.join("xfs.img"), mounted: work.join("xfs") };
        std::fs::create_dir(&made.mounted)?;
        File::create(&made.file)?.set_len(mib << 20)?;
        run(Command::new("mkfs.xfs").arg("-q").arg(&made.file))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&made.file).arg(&made.mounted))?;
        Ok(made)
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.mounted));
        let _ = std::fs::remove_file(&self.file);
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} could not be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", said.trim());
    Ok(())
}
