//! GitHub, as far as runners need it: authentication, the REST API of runners and jobs, runner scale sets and webhooks.
//! It keeps nothing durable and starts no task of its own; what the answers mean for jobs and machines is decided by
//! who calls it.

mod address;
mod auth;
mod caller;
mod client;
mod error;
mod etags;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod ids;
mod job;
mod limits;
pub mod manifest;
mod repository;
mod response;
mod rest;
mod runner;
mod said;
pub mod scaleset;
mod settings;
pub mod webhook;

pub use client::Github;
pub use error::Error;
pub use fireactions_http::{SecretSource, Timeouts};
/// Where runners are registered.
pub use fireactions_model::GithubScope as Scope;
pub use ids::{JobId, RunId, RunnerId};
pub use job::{JobStatus, WorkflowJob};
pub use repository::Repository;
pub use rest::{Access, AppAccess, ListedRepository, MissingPermission, Origin};
pub use runner::{Deleted, Jit, JitRequest, RegistrationToken, Runner, RunnerGroup};
pub use settings::{App, Credentials, Settings};
