//! The cache service of CI jobs, served by the host they run on: what one job saves under a key, a later job of the same
//! repository finds. It speaks both versions of the protocol that `actions/cache` uses.
//!
//! [`Cache`] keeps the entries in files, or in a bucket that several hosts share, and knows who may see which; [`router`] is its HTTP interface. Which job may do
//! what is told by the caller ([`Grant`]), who has it from the forge, never from a guest. Nothing here is needed to run
//! a job: a cache that is lost costs time.

mod blocking;
mod bucket;
mod cache;
mod clock;
mod disk;
mod entry_file;
mod error;
mod files;
mod grant;
mod hex;
mod http;
mod index;
mod limits;
mod pieces;
mod place;
mod sign;
mod state;
mod stats;
mod storage;
mod upload;

pub use bucket::S3;
pub use cache::{Cache, Cleaned, Options};
pub use clock::{Clock, HostClock};
pub use error::CacheError;
pub use grant::Grant;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use http::fuzz;
pub use http::router;
pub use index::Entry;
pub use limits::{KEY, KEYS, Limits};
pub use place::{Key, Place, Repository, Scope, Version};
pub use stats::Stats;
