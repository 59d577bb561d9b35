//! What the fake knows, kind by kind. Nothing here looks at more than its own kind: that is for those who have the
//! whole [`State`](super::state::State).

pub(super) mod accounts;
pub(super) mod apps;
pub(super) mod groups;
pub(super) mod hooks;
pub(super) mod jobs;
pub(super) mod limits;
pub(super) mod lists;
pub(super) mod runners;
pub(super) mod sets;
