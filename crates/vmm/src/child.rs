//! What a VMM process does to itself between fork and exec. From outside it would take a capability
//! (`CAP_SYS_RESOURCE`) that a confined server does not have, and come too late.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit};

/// `CLOSE_RANGE_CLOEXEC` of `linux/close_range.h`, in the type of the call's argument.
const CLOSE_RANGE_CLOEXEC: libc::c_int = 4;

/// Gives the process a session of its own, no stray descriptor, no core dump, and files of at most `largest_file` bytes.
#[allow(unsafe_code)]
pub(crate) fn prepare(command: &mut Command, largest_file: u64) {
    let run = move || -> io::Result<()> {
        // Descriptors that the server inherited from whoever started it are not for the VMM. What is meant for it is
        // mapped after this. Kernels before 5.11 cannot do it; there, the server's starter has to be trusted.
        // SAFETY: it only sets a flag on descriptors of this process, which execs next.
        unsafe { libc::close_range(3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
        // Away from the server's terminal and its signals: the VMM outlives the server.
        rustix::process::setsid()?;
        // A core dump would hold the guest's memory, with the job's credentials.
        set(Resource::Core, 0)?;
        // A guest that took the VMM over cannot fill the disk: no file grows beyond its scratch disk.
        set(Resource::Fsize, largest_file)
    };
    // SAFETY: after a fork in a program with threads only async-signal-safe calls are sound. `run` makes four system
    // calls and neither allocates nor takes a lock.
    unsafe { command.pre_exec(run) };
}

fn set(resource: Resource, value: u64) -> io::Result<()> {
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}
