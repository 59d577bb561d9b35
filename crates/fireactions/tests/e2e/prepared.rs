//! What every world would make for itself once more, made once: converted images, boot files, and the templates that
//! machines of the usual pools are clones of. All of it is named by its content, and a server never writes to what is
//! there, so each world has it by hard link.
//!
//! A prepared state lies under a key of everything that it was made from. One that is stale has another key, and is
//! never looked at; the oldest go.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use fireactions_testkit::{guest, kept, standin};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use crate::driver;
use crate::github::Octo;
use crate::world::{BOOT, Setup, World, pool};

/// What is prepared, in a server's state directory.
const PARTS: [&str; 3] = ["images", "boot", "scratch"];
/// Of `images`: for real guests alone. A stand-in has no use for them, and would remove what it does not know.
const TEMPLATES: &str = "images/templates";
/// How many states are kept: of both drivers, and of a checkout beside this one.
const KEPT: usize = 4;

/// Gives a world that has no state yet what is prepared for its driver. Made now if it is not there.
pub(crate) fn lend(state: &Path, with_templates: bool) {
    let shelf = kept::dir().join("prepared");
    fs::create_dir_all(&shelf).unwrap();
    let prepared = shelf.join(key());
    // Held while it is copied, so that nobody tidies up under it.
    let _lock = locked(&shelf, &prepared);
    fs::create_dir(state).unwrap();
    for part in PARTS {
        copy(&prepared.join(part), state);
    }
    if !with_templates {
        fs::remove_dir_all(state.join(TEMPLATES)).unwrap();
    }
}

/// The shared lock of a shelf that has this state on it.
fn locked(shelf: &Path, prepared: &Path) -> Flock<File> {
    let lock = |how| {
        let file = File::create(shelf.join("lock")).unwrap();
        Flock::lock(file, how).map_err(|(_, error)| error).unwrap()
    };
    loop {
        let shared = lock(FlockArg::LockShared);
        if prepared.exists() {
            return shared;
        }
        drop(shared);
        let _alone = lock(FlockArg::LockExclusive);
        if !prepared.exists() {
            make(shelf, prepared);
        }
    }
}

/// Of everything that a state is made from.
fn key() -> String {
    let mut text = format!("{} {}", driver::vmm(false), driver::kernel());
    // What its pools are.
    text += concat!(include_str!("prepared.rs"), include_str!("world.rs"), include_str!("github.rs"));
    for file in [
        PathBuf::from(env!("CARGO_BIN_EXE_fireactions")),
        guest::agent(),
        standin::program(),
        found("qemu-system-x86_64"),
        found("busybox"),
        found("tar2sqfs"),
        found("zstd"),
        guest::kernel().image,
    ] {
        let of = fs::metadata(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let _ = write!(text, "\n{} {} {} {}", file.display(), of.len(), of.mtime(), of.mtime_nsec());
    }
    kept::key(text.as_bytes())
}

fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|dir| dir.join(program));
    places.find(|file| file.is_file()).unwrap_or_else(|| panic!("{program} is not there: run `make setup`"))
}

/// A server with one pool for each of the usual kinds of machines, until each has its template. GitHub need not be there for it.
fn make(shelf: &Path, prepared: &Path) {
    let octo = Octo::new("127.0.0.1", 1);
    let pools = pool("default", 1, 1, "") + &octo.pools.replacen("min_runners: 0", "min_runners: 1", 1);
    let more = octo.more.clone();
    let mut world = World::start(Setup { pools, more, bare: true, ..Setup::default() });
    let templates = world.path("state").join(TEMPLATES);
    world.wait(BOOT, "two templates", || {
        let names = fs::read_dir(&templates).ok()?.map(|entry| entry.unwrap().file_name());
        (names.filter(|name| !name.to_string_lossy().starts_with('.')).count() == 2).then_some(())
    });
    world.signal_server(Signal::SIGTERM);
    assert!(world.server_ended(BOOT).success(), "{}", world.log());
    let making = tempfile::Builder::new().prefix(".making-").tempdir_in(shelf).unwrap();
    for part in PARTS {
        copy(&world.path("state").join(part), making.path());
    }
    // Each server locks its own.
    fs::remove_file(making.path().join("images/lock")).unwrap();
    fs::rename(making.keep(), prepared).unwrap();
    tidy(shelf);
}

/// By hard link; by their bytes where world and shelf are on different filesystems.
fn copy(from: &Path, into: &Path) {
    for how in [&["-al"][..], &["-a", "--sparse=always"]] {
        let done = Command::new("cp").args(how).arg("--").arg(from).arg(into).output().unwrap();
        if done.status.success() {
            return;
        }
        let _ = fs::remove_dir_all(into.join(from.file_name().unwrap()));
        println!("cp {how:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    panic!("{} could not be copied to {}", from.display(), into.display());
}

/// Removes what a killed run was making, for only one makes at a time, and the oldest states beyond those that are kept.
fn tidy(shelf: &Path) {
    let mut states: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(shelf).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with('.') {
            fs::remove_dir_all(entry.path()).unwrap();
        } else if entry.file_type().unwrap().is_dir() {
            states.push((entry.metadata().unwrap().modified().unwrap(), entry.path()));
        }
    }
    states.sort();
    for (_, old) in states.iter().rev().skip(KEPT) {
        fs::remove_dir_all(old).unwrap();
    }
}
