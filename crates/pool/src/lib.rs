//! How many machines there should be, and the loop that sees to it.
//!
//! ```text
//!  forge: demand ─┐                           ┌─▶ Machines::create
//!  machines: views├─▶ Observed ─▶ plan() ─▶ Action
//!  operators ─────┘   (plain data)  (pure)    └─▶ Machines::retire
//! ```
//!
//! [`plan`] is a pure function of what is observed now. It remembers nothing, so a lost event, a restart or a
//! failed call is put right by the next look. All waiting, counting of failures and talking to others is in
//! [`Controller`]; this crate does no IO of its own.

mod action;
mod ages;
mod backoff;
mod budget;
mod controller;
mod decide;
mod demand;
mod handle;
mod observed;
mod place;
mod room;
mod share;
mod sources;
mod timing;

pub use action::{Action, Held, Line, Obstacle, Plan, Why};
pub use budget::Budget;
pub use controller::{Controller, Ends};
pub use decide::{decide, plan};
pub use handle::{NoOverrides, Outlook, Overrides, PoolError, PoolHandle};
pub use observed::{Machine, Observed, Pace, Pool};
pub use place::{Place, PlacePool, Prepared, Shares, Wanted, place, unplaced};
pub use share::{Counted, Runners, Sharer, Sharing, share};
pub use timing::Timing;
