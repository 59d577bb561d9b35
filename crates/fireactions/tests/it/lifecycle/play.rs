//! What a job plays (the stand-in's language, `crates/standin/src/script.rs`), what it prints, and how it ends when
//! nothing touches it.

use std::time::Duration;

use fireactions_model::{JobSpec, Outcome};
use proptest::prelude::*;

/// The longest that any job may run: the pools' own deadline. Long for what is played, short for who waits for a
/// stopped VMM's job to end.
pub(crate) const LONGEST: Duration = Duration::from_secs(8);

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Play {
    /// Prints lines with a pause after each, on both streams, and returns a code.
    Returns { lines: u8, pause_ms: u16, code: u8 },
    /// Prints so many bytes at once and returns 0.
    Prints { bytes: u32 },
    /// Ends by a signal of its own.
    Signalled,
    /// Never begins.
    Unstartable,
    /// Runs until its timeout of a second; a stubborn one until it is killed.
    Hangs { stubborn: bool },
    /// The guest panics under it.
    Dies,
    /// The guest's agent falls silent.
    Mute,
}

impl Play {
    pub(crate) fn strategy() -> impl Strategy<Value = Self> {
        prop_oneof![
            8 => (0..6_u8, 0..400_u16, prop_oneof![2 => Just(0_u8), 1 => 1..=255_u8])
                .prop_map(|(lines, pause_ms, code)| Self::Returns { lines, pause_ms, code }),
            2 => (1..400_000_u32).prop_map(|bytes| Self::Prints { bytes }),
            1 => Just(Self::Signalled),
            1 => Just(Self::Unstartable),
            2 => prop_oneof![4 => Just(false), 1 => Just(true)].prop_map(|stubborn| Self::Hangs { stubborn }),
            1 => Just(Self::Dies),
            1 => Just(Self::Mute),
        ]
    }

    /// The job as it is submitted. `number` makes its output its own.
    pub(crate) fn spec(&self, number: usize, label: &str) -> JobSpec {
        let text = match self {
            Self::Returns { lines, pause_ms, code } => {
                let pause = f64::from(*pause_ms) / 1000.0;
                let lines = (0..*lines).map(|line| {
                    let word = if line % 2 == 0 { "print" } else { "print-err" };
                    format!("{word} {}; sleep {pause}; ", said(number, line))
                });
                lines.chain([format!("exit {code}")]).collect()
            }
            Self::Prints { bytes } => format!("print-bytes {bytes}"),
            Self::Signalled => format!("print {}; signal 6", said(number, 0)),
            Self::Unstartable => "unstartable there is no such program".to_owned(),
            Self::Hangs { stubborn: false } => format!("print {}; hang", said(number, 0)),
            Self::Hangs { stubborn: true } => format!("print {}; stubborn; hang", said(number, 0)),
            Self::Dies => format!("print {}; die", said(number, 0)),
            Self::Mute => format!("print {}; mute", said(number, 0)),
        };
        let timeout = matches!(self, Self::Hangs { .. } | Self::Mute).then_some(1);
        serde_json::from_value(serde_json::json!({
            "program": {"script": {"text": text}}, "labels": [label], "timeout_secs": timeout,
        }))
        .unwrap()
    }

    /// Everything that it prints in one attempt, both streams in order.
    pub(crate) fn output(&self, number: usize) -> Vec<u8> {
        match self {
            Self::Returns { lines, .. } => {
                (0..*lines).flat_map(|line| (said(number, line) + "\n").into_bytes()).collect()
            }
            Self::Prints { bytes } => {
                let bytes = *bytes as usize;
                // Lines of 64; the last one is cut at its front.
                let whole = bytes / 64;
                let dots = |count: usize| std::iter::repeat_n(b'.', count - 1).chain([b'\n']);
                let cut = bytes % 64;
                let mut output: Vec<u8> = (0..whole).flat_map(|_| dots(64)).collect();
                if cut > 0 {
                    output.extend(dots(cut));
                }
                output
            }
            Self::Unstartable => vec![],
            Self::Signalled | Self::Hangs { .. } | Self::Dies | Self::Mute => {
                (said(number, 0) + "\n").into_bytes()
            }
        }
    }

    /// Whether this is how it ends by itself.
    pub(crate) fn ends_as(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Returns { code, .. }, Outcome::Exited { code: told }) => i32::from(*code) == *told,
            (Self::Prints { .. }, Outcome::Exited { code }) => *code == 0,
            (Self::Signalled, Outcome::Signalled { signal }) => *signal == 6,
            (Self::Unstartable, Outcome::Unstartable { .. })
            | (Self::Hangs { .. } | Self::Mute, Outcome::TimedOut) => true,
            _ => false,
        }
    }

    /// Whether its output is whole when it ended by itself. What a silent or dying guest had to say may be lost with it.
    pub(crate) fn prints_whole(&self) -> bool {
        !matches!(self, Self::Dies | Self::Mute)
    }

    /// Whether it takes its machine along.
    pub(crate) fn loses_its_machine(&self) -> bool {
        matches!(self, Self::Dies | Self::Mute)
    }
}

fn said(number: usize, line: u8) -> String {
    format!("job {number} line {line}")
}
