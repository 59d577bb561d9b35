//! Whether a pool has a scale set, and its name.

use fireactions_model as model;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// Whether a pool has a scale set at GitHub, and its name.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("type" = ["boolean", "string"]))]
pub enum ScaleSetSetting {
    /// `true`: one that is named like the pool. `false`: none.
    Switch(bool),
    /// One of this name.
    Name(String),
}

impl Default for ScaleSetSetting {
    fn default() -> Self {
        Self::Switch(true)
    }
}

impl ScaleSetSetting {
    /// The set's name for a pool; nothing when it has no set.
    pub fn name(&self, pool: &model::PoolName) -> Option<String> {
        match self {
            Self::Switch(true) => Some(pool.to_string()),
            Self::Switch(false) => None,
            Self::Name(name) => Some(name.clone()),
        }
    }
}

impl<'de> Deserialize<'de> for ScaleSetSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScaleSetVisitor)
    }
}

struct ScaleSetVisitor;

impl Visitor<'_> for ScaleSetVisitor {
    type Value = ScaleSetSetting;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("true, false, or the name of a scale set")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<ScaleSetSetting, E> {
        Ok(ScaleSetSetting::Switch(on))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<ScaleSetSetting, E> {
        Ok(ScaleSetSetting::Name(name.to_owned()))
    }
}
