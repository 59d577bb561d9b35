//! Control messages: JSON, one per frame. Unknown fields are ignored on both sides, so that a newer server can
//! adopt a machine with an older agent; what cannot be ignored needs a new protocol version.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{AgentSecret, DropIn, Service};

/// The newest version of the messages that this crate speaks.
pub const VERSION: u16 = 5;

/// The oldest version of the messages that this crate speaks: without a secret.
pub const OLDEST_VERSION: u16 = 1;

/// The first version whose agents prove themselves by a secret.
pub(crate) const SECRET_VERSION: u16 = 2;

/// Who the machine is, and fresh randomness. Sent before anything runs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Host name.
    pub hostname: String,
    /// Address of the first network interface.
    pub address: Ipv4Addr,
    /// Prefix length of its network, 0 to 32.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Ipv4Addr,
    /// Name servers for `resolv.conf`.
    pub dns: Vec<IpAddr>,
    /// `/etc/machine-id`: 32 hexadecimal digits.
    pub machine_id: String,
    /// At least 64 bytes from the host's generator, for the guest's pool.
    pub entropy: Vec<u8>,
    /// The host's clock, nanoseconds since 1970.
    pub unix_nanos: u64,
    /// MTU of the interface; left alone when absent.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// MAC address of the interface; left alone when absent. A clone of a frozen machine wakes with its template's.
    #[serde(default)]
    pub mac: Option<[u8; 6]>,
    /// Domains for the `search` line of `resolv.conf`.
    #[serde(default)]
    pub dns_search: Vec<String>,
    /// Words for its `options` line.
    #[serde(default)]
    pub dns_options: Vec<String>,
    /// Started in this order before the machine is configured, each once the one before it is ready.
    #[serde(default)]
    pub services: Vec<Service>,
    /// IPv6 of the first network interface, where there is any.
    #[serde(default)]
    pub ipv6: Option<Ipv6>,
    /// Put into the image before that.
    #[serde(default)]
    pub drop_ins: Vec<DropIn>,
    /// Directories that lie on disks of their own, which outlive the machine.
    #[serde(default)]
    pub sticky: Vec<StickyDisk>,
}

/// A directory of the machine on a disk that outlives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StickyDisk {
    /// The disk: `/dev/vdc`.
    pub device: String,
    /// The directory, absolute.
    pub path: String,
}

/// A disk that outlives the machine, and could not be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// Its number in [`Identity::sticky`].
    pub disk: u32,
    /// Why, for people.
    pub why: String,
}

/// IPv6 of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6 {
    /// Its address.
    pub address: Ipv6Addr,
    /// Prefix length of its network, 0 to 128.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Ipv6Addr,
}

impl fmt::Debug for Identity {
    /// Without the entropy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("hostname", &self.hostname)
            .field("address", &self.address)
            .field("prefix", &self.prefix)
            .field("gateway", &self.gateway)
            .field("dns", &self.dns)
            .field("ipv6", &self.ipv6)
            .field("mtu", &self.mtu)
            .field("mac", &self.mac)
            .finish_non_exhaustive()
    }
}

/// The machine's one job, resolved by the host from the image's configuration and the job's program.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Names this run, 1 to 128 bytes (the job id). Asking again with the same name starts nothing twice.
    pub run: String,
    /// Program (looked up in the `PATH` of `env`) and arguments; not empty.
    pub argv: Vec<String>,
    /// The whole environment, image's and job's.
    pub env: Vec<(String, String)>,
    /// `""` (root), `name`, `uid`, `uid:gid`, `name:group`, as in an OCI image.
    pub user: String,
    /// Where `user` names nobody: the program runs as the owner of the first of these files that there is, if that is somebody of
    /// the image's `/etc/passwd`.
    #[serde(default)]
    pub owner_of: Vec<String>,
    /// Working directory; made when absent from the image. `""` is `/`.
    pub workdir: String,
}

impl fmt::Debug for RunRequest {
    /// Without arguments and environment: they may hold the job's credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunRequest")
            .field("run", &self.run)
            .field("program", &self.argv.first())
            .field("user", &self.user)
            .field("workdir", &self.workdir)
            .finish_non_exhaustive()
    }
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WinSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub cols: u16,
}

/// A program beside the job, for people: `fireactions exec` and `login`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments. Empty: the user's shell.
    pub argv: Vec<String>,
    /// Environment, over the image's.
    pub env: Vec<(String, String)>,
    /// As in [`RunRequest`].
    pub user: String,
    /// As in [`RunRequest`].
    pub workdir: String,
    /// A terminal of this size; pipes when absent. With a terminal all output is on [`Stream::Stdout`].
    pub tty: Option<WinSize>,
}

impl fmt::Debug for ExecRequest {
    /// Without arguments and environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecRequest")
            .field("program", &self.argv.first())
            .field("user", &self.user)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

/// Which of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// It returned this exit code, 0 to 255.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was never started; why, for people.
    Unstartable(String),
}

/// How the job ended and what it used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// How it ended.
    pub exit: Exit,
    /// Its processes that the guest's kernel killed for memory.
    pub oom_kills: u32,
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Peak resident memory, KiB.
    pub max_rss_kib: u64,
    /// From the program's start to its end by the guest's monotonic clock, microseconds: also right when no host
    /// was there to see either. 0 from agents that do not measure it.
    #[serde(default)]
    pub ran_us: u64,
    /// The host had sent it a signal before it ended. A server that was not there when it ended has it from here why.
    #[serde(default)]
    pub asked: bool,
    /// What the agent saw at the end that may explain it, for people ("the scratch disk is full …"): at most
    /// [`MAX_NOTES`](crate::limits::MAX_NOTES) of at most [`MAX_NOTE`](crate::limits::MAX_NOTE) bytes.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl JobResult {
    /// A job that ended like this and used nothing, as far as is known.
    pub fn new(exit: Exit) -> Self {
        Self {
            exit,
            oom_kills: 0,
            user_us: 0,
            system_us: 0,
            max_rss_kib: 0,
            ran_us: 0,
            asked: false,
            notes: Vec::new(),
        }
    }
}

/// What the guest is doing. It only ever moves downwards in this list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum GuestState {
    /// Booted, not yet configured.
    #[default]
    Idle,
    /// Configured, no job yet.
    Configured,
    /// The job runs.
    Running {
        /// The run's name.
        run: String,
        /// Its process in the guest.
        pid: u32,
        /// The first output byte (both streams counted together) that no host has acknowledged.
        acked: u64,
    },
    /// The job has ended.
    Exited {
        /// The run's name.
        run: String,
        /// The first output byte that no host has acknowledged.
        acked: u64,
        /// Bytes of output in all. When it equals `acked` the host has had everything.
        end: u64,
        /// How it ended.
        result: JobResult,
    },
}

/// The guest's first words in every session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestHello {
    /// Version of the messages that the guest chose; 0 when it speaks none of those offered.
    pub version: u16,
    /// The agent's own version.
    pub agent_version: String,
    /// `CLOCK_MONOTONIC` when the agent started, in microseconds: the time the kernel took.
    pub boot_us: u64,
    /// Kernel release.
    pub kernel: String,
    /// What it is doing.
    pub state: GuestState,
    /// Proof that this is the agent that was given the machine's identity; from version 2 on, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<AgentSecret>,
}

/// From the host to the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "msg")]
pub enum HostMsg {
    /// Starts a session; everything of an earlier one but the job is over.
    Hello {
        /// Oldest version that the host speaks.
        oldest: u16,
        /// Newest version that the host speaks.
        newest: u16,
        /// The machine's id, for the guest's log.
        machine: String,
    },
    /// The machine is to be frozen, before it has an identity: wait until the image's own init has come up, and write
    /// back what it has written. Answered by `Settled`. From version 4 on.
    Settle {
        /// How long that may take, in milliseconds.
        timeout_ms: u64,
    },
    /// The job is over: end what of it still runs, and write back the disks that outlive the machine, which nobody writes to from
    /// then on. Answered by `Released`. From version 5 on.
    Release,
    /// Be this machine. Answered by `Configured`.
    Configure {
        /// Who.
        identity: Identity,
        /// To be said in every hello from now on. Agents of version 1 do not know it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<AgentSecret>,
    },
    /// A file comes on this stream. Answered by `FileDone`.
    PutFile {
        /// Stream.
        stream: u32,
        /// Absolute path; missing parents are made.
        dest: String,
        /// Permission bits, and the type bits of stat(2) of a directory or a symbolic link, whose target is the content.
        mode: u32,
        /// Exact size in bytes.
        size: u64,
    },
    /// Send this file or directory as a tar archive on this stream. Ended by `FileDone`.
    GetFile {
        /// Stream.
        stream: u32,
        /// Absolute path.
        path: String,
        /// Of a file, only so many bytes, its last ones. Older agents send the whole file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
    },
    /// Start the job. Answered by `Started`, or by `Exited` with `Unstartable`, or by `Refused`.
    Run {
        /// What.
        request: RunRequest,
    },
    /// Send a signal to all of the job's processes.
    Signal {
        /// Signal number.
        signal: i32,
    },
    /// Start a program beside the job. Ended by `ExecExited`.
    Exec {
        /// Stream of its input and output.
        stream: u32,
        /// What.
        request: ExecRequest,
    },
    /// The terminal of an exec has a new size.
    Resize {
        /// Stream.
        stream: u32,
        /// Size.
        size: WinSize,
    },
    /// No more bytes come on this stream.
    Eof {
        /// Stream.
        stream: u32,
    },
    /// The host has lost interest in this stream: end what belongs to it.
    Reset {
        /// Stream.
        stream: u32,
    },
    /// Answer with `Pong`.
    Ping {
        /// The host's clock, nanoseconds since 1970. Older hosts do not tell it, and older agents do not read it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unix_nanos: Option<u64>,
    },
    /// End all processes, sync, power off.
    PowerOff,
}

/// From the guest to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "msg")]
pub enum GuestMsg {
    /// Answers `Hello`.
    Hello(GuestHello),
    /// Answers `Settle`.
    Settled {
        /// Why it could not.
        error: Option<String>,
    },
    /// Answers `Release`.
    Released {
        /// Why one of the disks is not to be kept.
        error: Option<String>,
    },
    /// Answers `Configure`.
    Configured {
        /// Why it could not.
        error: Option<String>,
        /// Of the disks that outlive the machine, those that cannot be mounted: the machine does without.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unusable: Vec<Unusable>,
    },
    /// The end of a file stream, after its last byte.
    FileDone {
        /// Stream.
        stream: u32,
        /// Why it failed.
        error: Option<String>,
    },
    /// The job's process runs.
    Started {
        /// The run's name.
        run: String,
        /// Process id in the guest.
        pid: u32,
    },
    /// The job was not started because the guest is not in a state for it.
    Refused {
        /// The run's name.
        run: String,
        /// Why.
        error: String,
    },
    /// The job has ended; sent after its last output byte.
    Exited {
        /// The run's name.
        run: String,
        /// Bytes of output in all.
        end: u64,
        /// How.
        result: JobResult,
    },
    /// An exec has ended; sent after its last output byte.
    ExecExited {
        /// Stream.
        stream: u32,
        /// How.
        exit: Exit,
    },
    /// Answers `Ping`.
    Pong,
    /// For the host's log.
    Log {
        /// Level.
        level: LogLevel,
        /// One line.
        text: String,
    },
}

/// Severity of a guest's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For developers.
    Debug,
    /// Normal.
    Info,
    /// Somebody should look.
    Warn,
}
