//! GitHub, as far as runners need it: authentication, the REST API of runners and jobs, runner scale sets and webhooks.
//! It keeps nothing durable and starts no task of its own; what the answers mean for jobs and machines is decided by
//! who calls it.

mod error;
mod limits;
mod settings;
mod transport;

pub use error::Error;
pub use limits::Limit;
pub use settings::{App, Credentials, SecretSource, Settings};
