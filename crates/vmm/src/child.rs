//! What a VMM process does to itself between fork and exec. From outside it would take a capability
//! (`CAP_SYS_RESOURCE`) that a confined server does not have, and come too late.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Gid, Resource, Rlimit, Uid};

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
    /// The doors ([`Cgroups::prepare`](crate::cgroup::Cgroups::prepare)) of the cgroups it is in from its first instruction on.
    pub(crate) cgroups: Vec<File>,
    /// Whom it runs as; as the server when absent.
    pub(crate) user: Option<User>,
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
        // Last: all that is above is the server's to do.
        confined.user.map_or(Ok(()), become_user)
    };
    // SAFETY: after a fork in a program with threads only async-signal-safe calls are sound. `run` makes system calls
    // and neither allocates nor takes a lock.
    unsafe { command.pre_exec(run) };
}

/// Gives the process at most [`OPEN_FILES`]. To be called after everything that handles descriptors: what a child does with
/// those of a server that has more needs higher numbers.
#[allow(unsafe_code)]
pub(crate) fn limit_open_files(command: &mut Command) {
    // SAFETY: the closure makes one system call and neither allocates nor takes a lock.
    unsafe { command.pre_exec(|| set(Resource::Nofile, OPEN_FILES)) };
}

/// The child has one thread, so what is a thread's is the process's.
fn become_user(user: User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
}

fn set(resource: Resource, value: u64) -> io::Result<()> {
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use fireactions_model::MachineId;

    use super::*;
    use crate::cgroup::{Cgroups, Limits};

    /// What a program that is confined so says of itself.
    fn said(script: &str, confined: Confined) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        prepare(&mut command, confined);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[tokio::test]
    async fn its_first_instruction_is_in_its_cgroups_and_its_users() {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test gives processes to other users: it needs root"
        );
        let cgroups = Cgroups::detect(&format!("fa-child-{}", std::process::id()));
        assert!(cgroups.usable()[0], "this test needs a writable memory cgroup");
        let id = MachineId::from_random([9; 8]);
        let limits = Limits { memory: 64 << 20, millicores: 1000, tasks: 10, disk: None };
        let doors = cgroups.prepare(&id, limits).unwrap();
        let count = doors.len();
        let user = Some(User { uid: 1_900_000_001, gid: 1_900_000_002 });
        let text = said(
            "cat /proc/self/cgroup /proc/self/status",
            Confined { cgroups: doors, user, ..Confined::default() },
        );
        cgroups.remove(&id).await.unwrap();
        assert_eq!(text.matches(id.as_str()).count(), count, "{text}");
        let ids = |id: u32| vec![id.to_string(); 4].join("\t");
        for line in [
            format!("Uid:\t{}", ids(1_900_000_001)),
            format!("Gid:\t{}", ids(1_900_000_002)),
            "Groups:\t ".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in {text}");
        }
    }
}
