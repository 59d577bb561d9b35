//! What can go wrong with a virtual machine, in words for people.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fireactions_model::MachineId;

use crate::ExitCause;

/// A failure of a driver.
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// The specification cannot be carried out as it is.
    #[error("machine {id} cannot be started: {reason}")]
    Spec {
        /// The machine.
        id: MachineId,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A file of the machine could not be opened or made.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// "open the drive", "make the socket", …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tap could not be attached to.
    #[error(
        "cannot attach to tap {tap}: {source}; does it exist in the server's network namespace, and is the server root?"
    )]
    Tap {
        /// The interface.
        tap: String,
        /// Why.
        source: io::Error,
    },
    /// The VMM program could not be started at all.
    #[error("cannot start {program}: {source}; is it installed? ('fireactions doctor' says what is missing)")]
    Program {
        /// Path or name of the program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program is there and cannot be used.
    #[error("{program} cannot be used: {why}")]
    Unusable {
        /// Path of the program.
        program: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// The VMM ended before the guest ran.
    #[error("the VMM of machine {id} ended before its guest ran ({cause}): {log}")]
    Died {
        /// The machine.
        id: MachineId,
        /// How it ended.
        cause: ExitCause,
        /// The last lines it wrote to its standard error.
        log: String,
    },
    /// The VMM did not answer in time.
    #[error("the VMM of machine {id} did not {what} within {deadline:?}; the host may be overloaded")]
    Timeout {
        /// The machine.
        id: MachineId,
        /// What was waited for.
        what: &'static str,
        /// How long.
        deadline: Duration,
    },
    /// The control socket said something else than the protocol allows.
    #[error("the control socket of machine {id} failed: {reason}")]
    Control {
        /// The machine.
        id: MachineId,
        /// What was wrong.
        reason: String,
    },
    /// A cgroup could not be made, set up or removed.
    #[error("cannot {action} cgroup {path}: {source}")]
    Cgroup {
        /// "make", "limit", "remove", …
        action: &'static str,
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process could not be watched or signalled.
    #[error("cannot {action} process {pid}: {source}")]
    Process {
        /// "watch", "kill", …
        action: &'static str,
        /// Its number.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// The driver cannot do this; its capabilities say so beforehand.
    #[error("this VMM cannot {what}")]
    Unsupported {
        /// "freeze a machine into a template", …
        what: &'static str,
    },
    /// The VMM refused a request.
    #[error("the VMM of machine {id} refused to {what}: {why}")]
    Refused {
        /// The machine.
        id: MachineId,
        /// What was asked, e.g. `PUT /drives/root`.
        what: String,
        /// Its own words.
        why: String,
    },
}

impl VmmError {
    /// Whether the host could not do its part, or was too late, or killed the VMM: it says nothing of the files that the machine
    /// was to be made of.
    pub fn is_hosts(&self) -> bool {
        let Self::File { source, .. } = self else {
            return matches!(
                self,
                Self::Tap { .. }
                    | Self::Program { .. }
                    | Self::Cgroup { .. }
                    | Self::Process { .. }
                    | Self::Timeout { .. }
                    | Self::Died { cause: ExitCause::Signal(_) | ExitCause::Unknown, .. }
            );
        };
        let short = [
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
            rustix::io::Errno::NOMEM,
            rustix::io::Errno::NOSPC,
        ];
        short.iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_short_of_something_is_told_from_a_file_that_is_of_no_use() {
        let file = |errno: rustix::io::Errno| VmmError::File {
            action: "keep the template's file",
            path: "memory".into(),
            source: errno.into(),
        };
        assert!(file(rustix::io::Errno::MFILE).is_hosts() && file(rustix::io::Errno::NOSPC).is_hosts());
        assert!(!file(rustix::io::Errno::NOENT).is_hosts());
        let tap = VmmError::Tap { tap: "fam0".to_owned(), source: rustix::io::Errno::BUSY.into() };
        assert!(tap.is_hosts());
        assert!(!VmmError::Unsupported { what: "start clones" }.is_hosts());
        let died = |cause| VmmError::Died { id: MachineId::from_random([1; 8]), cause, log: String::new() };
        assert!(died(ExitCause::Signal(9)).is_hosts() && !died(ExitCause::Code(1)).is_hosts());
    }
}
