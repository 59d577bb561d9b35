//! What the fake knows, as values: no behaviour beyond looking up.

pub(super) mod accounts;
pub(super) mod hooks;
pub(super) mod jobs;
pub(super) mod runners;
pub(super) mod seen;
