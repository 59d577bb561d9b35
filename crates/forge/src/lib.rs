//! Forges: where jobs come from. Each implements `fireactions_model::Forge`; nothing of a forge's wire format
//! leaves this crate.

mod forges;
pub mod gitea;
pub mod github;
mod hosted;
pub mod local;
mod oldest;
mod refusal;
mod waiters;

pub use forges::Forges;
pub use hosted::{
    Answer, Delivery, Earlier, Heard, HostedForge, HostedSettings, MAX_DELIVERY, Presence, WebhookSecrets, runner_key,
};
