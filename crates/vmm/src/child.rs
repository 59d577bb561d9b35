//! What a VMM process does to itself between fork and exec. From outside it would take a capability
//! (`CAP_SYS_RESOURCE`) that a confined server does not have, and come too late.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit};

/// `CLOSE_RANGE_CLOEXEC` of `linux/close_range.h`, in the type of the call's argument.
const CLOSE_RANGE_CLOEXEC: libc::c_int = 4;

/// Descriptors that a VMM may have: a few for each device, one for each connection through the vsock.
pub(crate) const OPEN_FILES: u64 = 1024;

/// Whom the process runs as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What a process is confined to.
#[derive(Debug, Default)]
pub(crate) struct Confined {
    /// Bytes that no file it writes grows beyond; `None` when the program that is started sees to that.
    pub(crate) largest_file: Option<u64>,
    /// Most open files; as the server's when absent.
    pub(crate) open_files: Option<u64>,
    /// `cgroup.procs` of the cgroups it is in from its first instruction on, open for writing.
    pub(crate) cgroups: Vec<File>,
    /// Its working directory, which its user need not be able to reach.
    pub(crate) directory: Option<OwnedFd>,
}

/// Gives the process a session of its own, no stray descriptor, no core dump, and what it is confined to.
#[allow(unsafe_code)]
pub(crate) fn prepare(command: &mut Command, confined: Confined) {
    let run = move || -> io::Result<()> {
        // Descriptors that the server inherited from whoever started it are not for the VMM. What is meant for it is
        // mapped after this. Kernels before 5.11 cannot do it; there, the server's starter has to be trusted.
        // SAFETY: it only sets a flag on descriptors of this process, which execs next.
        unsafe { libc::close_range(3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
        // Away from the server's terminal and its signals: the VMM outlives the server.
        rustix::process::setsid()?;
        for procs in &confined.cgroups {
            rustix::io::write(procs, b"0")?;
        }
        if let Some(directory) = &confined.directory {
            rustix::process::fchdir(directory)?;
        }
        // A core dump would hold the guest's memory, with the job's credentials.
        set(Resource::Core, 0)?;
        // A guest that took the VMM over cannot fill the disk: no file grows beyond its scratch disk.
        confined.largest_file.map_or(Ok(()), |bytes| set(Resource::Fsize, bytes))?;
        confined.open_files.map_or(Ok(()), |count| set(Resource::Nofile, count))
    };
    // SAFETY: after a fork in a program with threads only async-signal-safe calls are sound. `run` makes system calls
    // and neither allocates nor takes a lock.
    unsafe { command.pre_exec(run) };
}

fn set(resource: Resource, value: u64) -> io::Result<()> {
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}
