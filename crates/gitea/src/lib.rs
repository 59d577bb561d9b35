//! Gitea and Forgejo, as far as runners need them: the REST API of runners, jobs and tokens, the registration of the runner
//! protocol (Connect, in JSON) and webhooks. It keeps nothing durable and starts no task of its own; what the answers mean
//! for jobs and machines is decided by who calls it.
//!
//! What the servers do not have, and what is done instead:
//!
//! - Gitea before 1.25 lists no waiting jobs: `…/actions/tasks` has those alone that a runner has taken. So
//!   [`Jobs::None`] is what it can do; from 1.24 on its webhooks report them.
//! - Forgejo's queue names the repository of a job by its number and drops a job that has ended. [`Gitea::job`] finds its
//!   name, and the result in the list of tasks (in the job itself from 17 on).

mod address;
mod caller;
mod client;
mod error;
mod ids;
mod job;
mod kind;
mod labels;
mod meaning;
mod origin;
mod pages;
mod rest;
mod runner;
pub mod runner_file;
mod settings;
mod version;
pub mod webhook;
mod wire;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;

pub use client::Gitea;
pub use error::Error;
pub use fireactions_http::{SecretSource, Timeouts};
/// Where runners are registered.
pub use fireactions_model::GiteaScope as Scope;
pub use ids::{JobId, RunnerId};
pub use job::{Conclusion, Job, JobStatus};
pub use kind::Kind;
pub use labels::{label_name, matches};
pub use origin::Origin;
pub use rest::{Access, Check, MAX_JOBS, Need};
pub use runner::{Registered, Registration, Runner, RunnerStatus};
pub use settings::Settings;
pub use version::{Capabilities, Jobs, Server, Version};
