//! The jobs, and how each must end whatever happens to the server.

use fireactions_model::{JobRecord, JobSpec, JobState};
use rand::RngExt;
use rand::rngs::StdRng;

/// Bytes that a talkative job prints.
pub(crate) const OUTPUT: usize = 200_000;

/// A kind of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Succeeds,
    Fails,
    Prints,
    Sleeps,
    /// Cancelled while it runs.
    Cancelled,
    /// Does not end, not even when asked to, and has a deadline.
    TimesOut,
    /// Takes its guest down, each time.
    Panics,
    /// Its VMM is killed while it runs.
    VmmKilled,
    /// Its VMM stands still for a second while it runs.
    VmmStopped,
    /// Asks for an image that does not exist; cancelled while it waits.
    NoImage,
}

/// Of a hundred jobs, so many of each.
const MIX: [(Kind, u32); 10] = [
    (Kind::Succeeds, 36),
    (Kind::Fails, 10),
    (Kind::Prints, 10),
    (Kind::Sleeps, 12),
    (Kind::Cancelled, 8),
    (Kind::TimesOut, 4),
    (Kind::Panics, 5),
    (Kind::VmmKilled, 8),
    (Kind::VmmStopped, 5),
    (Kind::NoImage, 2),
];

impl Kind {
    pub(crate) fn pick(random: &mut StdRng) -> Self {
        let mut left = random.random_range(0..100);
        for (kind, share) in MIX {
            if left < share {
                return kind;
            }
            left -= share;
        }
        Self::Succeeds
    }

    /// What to submit. The stand-in plays its own little language; a real guest has a shell.
    pub(crate) fn spec(self, real: bool) -> JobSpec {
        let prints = if real {
            format!("head -c {OUTPUT} /dev/zero | tr '\\0' x")
        } else {
            format!("print-bytes {OUTPUT}")
        };
        let script = match (self, real) {
            (Self::Succeeds | Self::NoImage, _) => "echo begun".to_owned(),
            (Self::Fails, _) => "echo begun; exit 3".to_owned(),
            (Self::Prints, _) => prints,
            (Self::Sleeps, _) => "echo begun; sleep 1".to_owned(),
            (Self::VmmKilled | Self::VmmStopped, _) => "echo begun; sleep 2".to_owned(),
            (Self::Cancelled, true) => "echo begun; sleep 1000".to_owned(),
            (Self::Cancelled, false) => "echo begun; hang".to_owned(),
            (Self::TimesOut, true) => {
                "trap '' TERM; echo begun; sleep 1000 & wait; wait; sleep 1000".to_owned()
            }
            (Self::TimesOut, false) => "stubborn; echo begun; hang".to_owned(),
            (Self::Panics, true) => "echo begun; echo c > /proc/sysrq-trigger; sleep 1000".to_owned(),
            (Self::Panics, false) => "echo begun; die".to_owned(),
        };
        let mut spec = serde_json::json!({
            "labels": ["soak"],
            "program": {"command": {"argv": ["sh", "-c", script]}},
        });
        if self == Self::TimesOut {
            spec["timeout_secs"] = 2.into();
        }
        if self == Self::NoImage {
            spec["image"] = "oci:/nowhere/at/all".into();
        }
        // Every field is known.
        #[allow(clippy::expect_used, reason = "a fixed specification")]
        serde_json::from_value(spec).expect("a job specification")
    }

    /// Whether this is how it must end. The server's own deaths change nothing of it: what they cost is an attempt only
    /// where the machine was not ready yet, and then the job was not bound to it.
    pub(crate) fn ends_so(self, job: &JobRecord) -> bool {
        use JobState::{Cancelled, Failed, Lost, Succeeded, TimedOut};
        match self {
            Self::Succeeds | Self::Prints | Self::Sleeps | Self::VmmStopped => {
                (job.state, job.attempt) == (Succeeded, 1)
            }
            Self::Fails => (job.state, job.attempt, job.exit_code()) == (Failed, 1, Some(3)),
            Self::Cancelled => (job.state, job.attempt) == (Cancelled, 1),
            Self::TimesOut => (job.state, job.attempt) == (TimedOut, 1),
            Self::Panics => (job.state, job.attempt) == (Lost, 2),
            // It may have ended just before.
            Self::VmmKilled => job.state == Succeeded && job.attempt <= 2,
            Self::NoImage => (job.state, job.attempt) == (Cancelled, 0),
        }
    }
}
