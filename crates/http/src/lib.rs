//! HTTP to forges and collectors of traces, as far as it is the same for all of them: one request with its deadline, bounds, TLS and proxy; answers,
//! times, secrets and what is checked of a webhook's delivery. What an answer means is its client's matter.

mod error;
mod number;
mod plain;
mod response;
mod secret;
mod single_flight;
mod timeouts;
pub mod times;
mod transport;
pub mod webhook;

pub use error::Error;
pub use plain::{assert_presentable, plain};
pub use response::Response;
pub use secret::{SecretSource, read_secret};
pub use single_flight::SingleFlight;
pub use timeouts::Timeouts;
pub use transport::{Body, Connection, Http, Request};
