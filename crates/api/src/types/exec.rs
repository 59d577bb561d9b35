//! A program run inside a machine, as its two ends see it.

use bytes::Bytes;
use fireactions_model::Stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WindowSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// What to run. It is the first (text) message of the WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// Program (looked up in the guest's `PATH`) and arguments; if empty, a login shell.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Give it a terminal of this size. Its errors then come on stdout.
    #[serde(default)]
    pub tty: Option<WindowSize>,
    /// Environment variables, in addition to the guest's.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// User as in an OCI config; by default root.
    #[serde(default)]
    pub user: Option<String>,
}

/// From the user to the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecInput {
    /// Bytes for its standard input, at most 64 KiB.
    Stdin(Bytes),
    /// End of its standard input.
    Eof,
    /// The terminal changed.
    Resize(WindowSize),
}

/// From the program to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    /// Bytes it wrote, at most 64 KiB.
    Output(Stream, Bytes),
    /// The end; nothing follows.
    Exit(ExecExit),
}

/// How the program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecExit {
    /// It returned this exit code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It did not start, or the link to the machine broke. For people.
    Failed(String),
}

impl ExecExit {
    /// What a shell would return: the code, 128 + signal, or 126.
    pub fn code(&self) -> i32 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(signal) => 128 + signal,
            Self::Failed(_) => 126,
        }
    }
}
