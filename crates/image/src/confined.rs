//! Programs that work on what came out of an image, without the server's rights: under a user of their own, without a network
//! or the host's abstract sockets, and with those system calls alone that work on open files and on their own memory.
//!
//! All of it is taken up by a thread that starts the program and ends: what a thread is confined to, its children are.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use nix::sched::{CloneFlags, unshare};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The programs, and the user that they run under where the server can choose.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) tar2sqfs: PathBuf,
    pub(crate) zstd: PathBuf,
    pub(crate) user: u32,
}

/// What is allowed. Everything else is answered like a system call that the kernel does not have (`ENOSYS`): libraries know
/// that from older kernels and do without, so a newer one that wants a newer call still works, and a call that is not
/// listed is no way into the kernel.
const ALLOWED: &[libc::c_long] = &[
    // Files, by name as far as the user may, and by descriptor.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_umask,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Its own memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    // Its threads. `clone3` is not here: what it makes is told in memory, where a filter cannot look.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    // Time, randomness, and who it is.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Between the filter and the program, which has no right or no socket for them: the standard library sets the user, and
    // hears whether the program could be started.
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_setgroups,
    libc::SYS_setgid,
    libc::SYS_setuid,
    libc::SYS_execve,
];

/// The same, by the names that only this architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_vfork,
    libc::SYS_getpgrp,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[libc::c_long] = &[];

/// Starts a program. A server that is not root has no other rights to give it than its own, and takes only the system
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
            // It computes for seconds in the server's share of the processors, in which the server comes first.
            let _ = rustix::process::nice(10);
            // Sets `no_new_privs` as well.
            seccompiler::apply_filter(&filter).map_err(io::Error::other)?;
            command.spawn()
        };
        let thread = std::thread::Builder::new().name("confined".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts the program panicked")))
    })
}

fn filter() -> io::Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new())).collect();
    // Threads and processes like itself; none in namespaces of their own, where they had rights.
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET;
    let none = SeccompCmpOp::MaskedEq(u64::from(namespaces.bits().cast_unsigned()));
    let flags = SeccompCondition::new(0, SeccompCmpArgLen::Qword, none, 0).map_err(io::Error::other)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![flags]).map_err(io::Error::other)?]);
    // As above. Nothing can be sent through it but bytes.
    let local = u64::from(libc::AF_UNIX.unsigned_abs());
    let domain = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, local);
    let domain = domain.map_err(io::Error::other)?;
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![domain]).map_err(io::Error::other)?]);
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    SeccompFilter::new(rules, unknown, SeccompAction::Allow, arch)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_program_has_no_rights_no_network_and_no_way_to_more() {
        let script = "id -u; id -G; grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status; ls /proc/sys/net/ipv4/conf; \
            read -ra stat </proc/self/stat; echo nice ${stat[18]}; \
            unshare --user true && echo unshared; exec 3<>/dev/tcp/127.0.0.1/1";
        let mut command = Command::new("bash");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(&mut command, 1_899_999_999).unwrap().wait_with_output().unwrap();
        let ours = rustix::process::getpriority_process(None).unwrap();
        let (said, failed) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            said.split_whitespace().collect::<Vec<_>>().join(" "),
            format!(
                "1899999999 1899999999 CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 all default lo nice {}",
                (ours + 10).min(19)
            ),
            "{failed}"
        );
        // The network is denied before it is found to be empty.
        for denied in ["unshare", "/dev/tcp"] {
            let mut lines = failed.lines();
            assert!(
                lines.any(|line| line.contains(denied) && line.ends_with("Function not implemented")),
                "{failed}"
            );
        }
    }

    /// What a fault in a decoder would try next, and what none of the programs needs.
    #[test]
    fn what_a_way_into_the_kernel_begins_with_is_not_there() {
        let script = "import ctypes, errno, os\n\
            libc = ctypes.CDLL(None, use_errno=True)\n\
            def answer(number, *arguments):\n\
            \x20   ctypes.set_errno(0)\n\
            \x20   libc.syscall(number, *arguments)\n\
            \x20   return errno.errorcode.get(ctypes.get_errno(), 'done')\n\
            print(*[answer(int(n), *map(int, rest)) for n, *rest in (c.split(':') for c in os.sys.argv[1:])])";
        let clone = |flags: i32| format!("{}:{}:0:0:0:0", libc::SYS_clone, flags);
        let mut calls: Vec<String> = [
            libc::SYS_clone3,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_memfd_create,
            libc::SYS_mount,
            libc::SYS_perf_event_open,
            libc::SYS_ptrace,
            libc::SYS_sendmsg,
            libc::SYS_socket,
            libc::SYS_splice,
            libc::SYS_userfaultfd,
            libc::SYS_vmsplice,
        ]
        .map(|call| call.to_string())
        .into();
        calls.push(clone(libc::CLONE_NEWUSER | libc::SIGCHLD));
        calls.push(format!("{}:{}:{}:0:0", libc::SYS_socketpair, libc::AF_TIPC, libc::SOCK_RDM));
        let mut command = Command::new("python3");
        command.args(["-c", script]).args(&calls).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(&mut command, 1_899_999_999).unwrap().wait_with_output().unwrap();
        let (said, failed) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), vec!["ENOSYS"; calls.len()], "{failed}");
    }
}
