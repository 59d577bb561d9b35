//! Starting, pausing and the like.

use serde::Serialize;

use super::request::{Method, Request};

/// `PUT /actions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "action_type")]
pub enum Action {
    /// The guest boots.
    InstanceStart,
    /// The metrics are written now.
    FlushMetrics,
    /// The guest's keyboard sends Ctrl-Alt-Del, which its init may take as a request to reboot.
    SendCtrlAltDel,
}

impl Request for Action {
    type Answer = ();
    const METHOD: Method = Method::Put;
    fn path(&self) -> String {
        "/actions".into()
    }
}

/// `PATCH /vm`: stops the processors or lets them go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state")]
pub enum SetState {
    /// Stopped; a snapshot can be made.
    Paused,
    /// Running.
    Resumed,
}

impl Request for SetState {
    type Answer = ();
    const METHOD: Method = Method::Patch;
    fn path(&self) -> String {
        "/vm".into()
    }
}
