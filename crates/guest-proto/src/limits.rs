//! Every bound of the protocol, in one place.

use std::time::Duration;

/// Most payload bytes of a frame from the guest, and of any stream frame.
pub const MAX_BODY: usize = 64 * 1024;

/// Most payload bytes of a control message from the host. Larger than [`MAX_BODY`] because an environment and an
/// argument list may be (Linux takes 128 KiB for one argument); only the host may send it, and the guest trusts
/// the host's sizes no further than this.
pub const MAX_HOST_CONTROL: usize = 1024 * 1024;

/// Bytes of one stream that may be under way in one direction without having been consumed.
pub const STREAM_WINDOW: u64 = 256 * 1024;

/// Job output that the guest keeps until the host has acknowledged it. When it is full, the job's own writes wait.
pub const JOB_WINDOW: u64 = 1024 * 1024;

/// Streams (file copies, exec sessions) open at once.
pub const MAX_STREAMS: usize = 64;

/// Bytes of one stream frame as this implementation writes it.
pub const CHUNK: usize = 32 * 1024;

/// Bytes of text in a message from the guest that is shown to people; the rest is cut.
pub const MAX_TEXT: usize = 4096;

/// Notes of the agent about the job's end; more are dropped.
pub const MAX_NOTES: usize = 8;

/// Disks of a machine that outlive it; what a guest says of more is dropped.
pub const MAX_DISKS: usize = 8;

/// Bytes of a note; the rest is cut.
pub const MAX_NOTE: usize = 200;

/// Bytes of a name in a message: run id, kernel release, agent version.
pub const MAX_NAME: usize = 128;

/// Bytes that the host skips at the start of a session while it looks for the guest's answer. QEMU's chardev and
/// the virtqueue hold up to 1 MiB of an earlier session; a guest may write a window more before it reads.
pub const MAX_STALE: usize = 8 * 1024 * 1024;

/// Control messages of up to 1 KiB that a guest may send at once, and per second in the long run; longer ones count as
/// many.
pub const CONTROL_BURST: u32 = 1024;
/// See [`CONTROL_BURST`].
pub const CONTROL_PER_SECOND: u32 = 256;

/// Lines for the host's log that a guest may send at once, and per second in the long run. More are left out.
pub const LOG_BURST: u32 = 64;
/// See [`LOG_BURST`].
pub const LOG_PER_SECOND: u32 = 1;

/// A silent guest is asked for a sign of life after this, and sooner when its link is to give it up soon.
pub const PING_AFTER: Duration = Duration::from_millis(22_500);

/// An agent that has said nothing for this long is given up, unless its link was told another time. After half of it
/// the connection is made anew.
pub const SILENCE: Duration = Duration::from_secs(90);
