//! Runner scale sets: GitHub tells of a set's jobs through a message queue that is asked, so nothing here is reached by
//! GitHub. The protocol is that of <https://github.com/actions/scaleset>.
//!
//! ```text
//!  registration token ─▶ admin token of the Actions service ─▶ set ─▶ session ─▶ messages ─▶ acknowledge
//!                                                               └─▶ JIT configuration of one runner
//! ```

mod message;
mod service;
mod session;
mod set;

use std::sync::Arc;

pub use message::{JobEvent, JobInfo, Message, MessageId, RequestId, Statistics};
pub use session::Session;
pub use set::{ScaleSet, ScaleSetId, ScaleSetJit, ScaleSetSpec};

use crate::{Github, Scope};
use service::Service;

/// The scale sets of one scope. Clones share tokens.
#[derive(Clone)]
pub struct ScaleSets {
    service: Arc<Service>,
}

impl ScaleSets {
    /// Nothing is asked of GitHub yet.
    pub fn new(github: &Github, scope: Scope) -> Self {
        Self { service: Arc::new(Service::new(github.clone(), scope)) }
    }
}
