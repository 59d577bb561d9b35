//! The end of the machine.

use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};
use rustix::system::{RebootCommand, reboot};

use crate::console::say;

/// Writing back takes long on a slow disk, and the disk is thrown away with the machine.
const SYNC_DEADLINE: Duration = Duration::from_secs(3);

/// Kills everything (as PID 1), writes back what is dirty, and ends the machine.
///
/// By a restart, not a power-off: a microVM has no ACPI to switch it off, so the host starts QEMU with `-no-reboot`
/// and Firecracker's guests with `reboot=k`, and a restart ends both.
pub(crate) fn off(scratch: Option<&OwnedFd>) -> ! {
    if std::process::id() == 1 {
        // Everything but PID 1 and kernel threads, kill(2).
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    }
    let (done, wait) = mpsc::channel();
    let owned = scratch.and_then(|fd| fd.try_clone().ok());
    let writer = std::thread::Builder::new().spawn(move || {
        rustix::fs::sync();
        if let Some(fd) = owned {
            // Fails while something still has a file open for writing; the sync above has done the work.
            let _ = read_only(&fd);
        }
        let _ = done.send(());
    });
    if writer.is_ok() && wait.recv_timeout(SYNC_DEADLINE).is_err() {
        say("the scratch disk was not written back in time; it is removed with the machine anyway");
    }
    loop {
        if let Err(error) = reboot(RebootCommand::Restart) {
            say(format_args!("cannot end the machine: {error}"));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Remounts a file system that has no path any more: what was written is on its disk, and nobody writes to it any more.
pub(crate) fn read_only(dir: &OwnedFd) -> rustix::io::Result<()> {
    let context = fspick(dir, "", FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC)?;
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_reconfigure(&context)
}
