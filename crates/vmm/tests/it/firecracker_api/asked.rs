//! Requests that only the tests make: what the driver sets is read back, and what it never changes is changed, so that a
//! Firecracker shows what it is.

use fireactions_vmm::firecracker::api::{Method, Request};
use serde::Serialize;
use serde_json::Value;

/// `GET` of a path; the answer as it is.
#[derive(Debug, Serialize)]
pub(crate) struct Get(pub(crate) &'static str);

impl Request for Get {
    type Answer = Value;
    const METHOD: Method = Method::Get;
    fn path(&self) -> String {
        self.0.into()
    }
}

/// `PUT` of a path.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Put(#[serde(skip)] pub(crate) &'static str, pub(crate) Value);

impl Request for Put {
    type Answer = ();
    const METHOD: Method = Method::Put;
    fn path(&self) -> String {
        self.0.into()
    }
}

/// `PATCH` of a path.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Patch(#[serde(skip)] pub(crate) &'static str, pub(crate) Value);

impl Request for Patch {
    type Answer = ();
    const METHOD: Method = Method::Patch;
    fn path(&self) -> String {
        self.0.into()
    }
}
