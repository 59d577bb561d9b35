//! A program that works on what came out of an image, without the server's rights: under a user of its own, without a network
//! or the host's abstract sockets, and without the system calls that a way into the kernel begins with.
//!
//! All of it is taken up by a thread that starts the program and ends: what a thread is confined to, its children are.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::sched::{CloneFlags, unshare};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// What no converter of files needs.
const DENIED: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_add_key,
    libc::SYS_bind,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_connect,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_listen,
    libc::SYS_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_socket,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Starts the program. A server that is not root has no other rights to give it than its own, and takes only the system
/// calls.
pub(crate) fn spawn(command: &mut Command, user: u32) -> io::Result<Child> {
    let filter = filter()?;
    let root = rustix::process::geteuid().is_root();
    if root {
        // The standard library also drops the supplementary groups then.
        command.uid(user).gid(user);
    }
    std::thread::scope(|scope| {
        let work = || {
            // Before the filter, which denies it. A confined server may lack the right to; the calls for sockets are denied
            // all the same.
            let _ = unshare(CloneFlags::CLONE_NEWNET);
            // Sets `no_new_privs` as well.
            seccompiler::apply_filter(&filter).map_err(io::Error::other)?;
            command.spawn()
        };
        let thread = std::thread::Builder::new().name("confined".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts the program panicked")))
    })
}

fn filter() -> io::Result<BpfProgram> {
    let rules: BTreeMap<i64, Vec<_>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    SeccompFilter::new(rules, SeccompAction::Allow, denied, arch)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_converter_has_no_rights_no_network_and_no_way_to_more() {
        let script = "id -u; id -G; grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status; ls /proc/sys/net/ipv4/conf; \
            unshare --user true && echo unshared; exec 3<>/dev/tcp/127.0.0.1/1";
        let mut command = Command::new("bash");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(&mut command, 1_899_999_999).unwrap().wait_with_output().unwrap();
        let (said, failed) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            said.split_whitespace().collect::<Vec<_>>().join(" "),
            "1899999999 1899999999 CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 all default lo",
            "{failed}"
        );
        // The network is denied before it is found to be empty.
        assert!(failed.to_lowercase().contains("operation not permitted"), "{failed}");
    }
}
