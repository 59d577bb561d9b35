//! The configuration file: what it may say, and what is said about one that is wrong.
//!
//! ```text
//!  bytes ─▶ tree (YAML under limits, every value with its place)
//!             ├─▶ foreign: keys of other programs, put into ours
//!             ├─▶ de: the types, with every error and not only the first
//!             ├─▶ ranges: the limits that the schema states
//!             └─▶ check: what must fit together
//! ```
//!
//! Nothing here opens anything but the file itself; secrets are only named, and read by [`SecretFile::read`].

mod budget;
mod check;
mod de;
mod effective;
mod foreign;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod host;
mod json_schema;
mod load;
mod migrate;
mod problem;
mod ranges;
mod reference;
mod schema;
mod secret;
mod suggest;
mod tree;

pub use budget::HostBudget;
pub use effective::EffectiveKey;
pub use host::Host;
pub use json_schema::json_schema;
pub use load::{Loaded, load, load_for, parse};
pub use migrate::{Migrated, migrate, translate};
pub use problem::{ConfigErrors, Diagnostic};
pub use reference::reference_page;
pub use schema::*;
pub use secret::SecretError;
pub use suggest::nearest as nearest_name;
