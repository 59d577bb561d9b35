//! The guest behind the API.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use super::config::RateLimiter;
use super::emulated::Emulated;
use super::kind::Kind;
use super::played::Played;
use super::resources::Resources;
use super::snapshot::Header;

/// A guest that was started or restored.
pub(crate) enum Guest {
    Played(Played),
    Emulated(Box<Emulated>),
}

impl Guest {
    /// Boots it. Errors are for people, here and below.
    pub(crate) fn boot(kind: Kind, resources: &Resources) -> Result<Self, String> {
        Ok(match kind {
            Kind::Played => Self::Played(Played::start(&resources.config, false)?),
            Kind::Emulated => Self::Emulated(Box::new(Emulated::boot(resources)?)),
        })
    }

    /// Brings it back, paused. `state` stands behind the header.
    pub(crate) fn restore(
        kind: Kind,
        resources: &Resources,
        header: &Header,
        state: File,
        memory: &Path,
    ) -> Result<Self, String> {
        if header.kind() != kind {
            return Err("the snapshot is of another kind of stand-in".to_owned());
        }
        Ok(match kind {
            Kind::Played => Self::Played(Played::start(&resources.config, true)?),
            Kind::Emulated => {
                Self::Emulated(Box::new(Emulated::restore(resources, header.port_open, state, memory)?))
            }
        })
    }

    pub(crate) fn pause(&mut self) -> Result<(), String> {
        match self {
            Self::Played(played) => {
                played.gate.close();
                Ok(())
            }
            Self::Emulated(emulated) => emulated.pause(),
        }
    }

    pub(crate) fn resume(&mut self) -> Result<(), String> {
        match self {
            Self::Played(played) => {
                played.gate.open();
                Ok(())
            }
            Self::Emulated(emulated) => emulated.resume(),
        }
    }

    /// Whether its agent has the port to the host open.
    pub(crate) fn port_open(&self) -> bool {
        match self {
            Self::Played(_) => true,
            Self::Emulated(emulated) => emulated.port_open(),
        }
    }

    /// Writes the state behind the header, and the memory.
    pub(crate) fn save(&mut self, state: File, memory: &File, size: u64) -> Result<(), String> {
        match self {
            Self::Played(_) => memory.set_len(size).map_err(|error| format!("its memory: {error}")),
            Self::Emulated(emulated) => emulated.save(state, memory),
        }
    }

    /// Sets the balloon's size. A played guest has none, and nothing comes of it.
    pub(crate) fn balloon(&mut self, guest_mib: u64) -> Result<(), String> {
        match self {
            Self::Played(_) => Ok(()),
            Self::Emulated(emulated) => {
                let size = guest_mib << 20;
                emulated.ask("balloon", &serde_json::json!({ "value": size })).map(drop)
            }
        }
    }

    /// Gives the drive of this number other limits. A played guest has no disks that it uses.
    pub(crate) fn throttle(&mut self, index: usize, limiter: Option<&RateLimiter>) -> Result<(), String> {
        match self {
            Self::Played(_) => Ok(()),
            Self::Emulated(emulated) => emulated.throttle(index, limiter),
        }
    }

    /// How large the guest is without the balloon, in MiB.
    pub(crate) fn actual_mib(&mut self) -> Option<u64> {
        match self {
            Self::Played(_) => None,
            Self::Emulated(emulated) => {
                let answer = emulated.ask("query-balloon", &Value::Null).ok()?;
                answer["actual"].as_u64().map(|bytes| bytes >> 20)
            }
        }
    }
}
