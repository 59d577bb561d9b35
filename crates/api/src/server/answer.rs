//! Answers in JSON, without what nobody is to read there: the values of a job's environment, and what a pool gives its
//! guests, are often secrets. Who may look at jobs and pools need not know them.

use axum::response::{IntoResponse, Response};
use fireactions_model::{HostView, JobRecord, MachineView, PoolView};
use serde::Serialize;
use serde_json::Value;

use crate::{
    CacheEntryView, CacheGcReport, CachesView, GcReport, HostEntry, ImageView, LogEnd, MachineUsage, Removed,
};

/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "…";

/// What an answer may tell. Each type of an answer says so itself, so that a new one is thought about.
pub(super) trait Shown: Serialize {
    /// Takes out what nobody is to read.
    fn hide(&mut self);
}

/// The same without what nobody is to read.
pub(super) fn shown<T: Shown>(mut answer: T) -> T {
    answer.hide();
    answer
}

/// An answer in JSON.
pub(super) struct Answer<T>(pub T);

impl<T: Shown> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        axum::Json(shown(self.0)).into_response()
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn hide(&mut self) {
        self.iter_mut().for_each(Shown::hide);
    }
}

impl Shown for JobRecord {
    fn hide(&mut self) {
        for (_, value) in &mut self.spec.env {
            HIDDEN.clone_into(value);
        }
    }
}

impl Shown for LogEnd {
    fn hide(&mut self) {
        self.job.hide();
    }
}

impl Shown for PoolView {
    fn hide(&mut self) {
        if !self.spec.metadata.is_null() {
            self.spec.metadata = Value::from(HIDDEN);
        }
        if let Some(data) = &mut self.spec.user_data {
            HIDDEN.clone_into(data);
        }
    }
}

impl Shown for MachineView {
    fn hide(&mut self) {}
}

impl Shown for MachineUsage {
    fn hide(&mut self) {}
}

impl Shown for HostView {
    fn hide(&mut self) {}
}

impl Shown for HostEntry {
    fn hide(&mut self) {}
}

impl Shown for ImageView {
    fn hide(&mut self) {}
}

impl Shown for GcReport {
    fn hide(&mut self) {}
}

impl Shown for CachesView {
    fn hide(&mut self) {}
}

impl Shown for CacheEntryView {
    fn hide(&mut self) {}
}

impl Shown for CacheGcReport {
    fn hide(&mut self) {}
}

impl Shown for Removed {
    fn hide(&mut self) {}
}
