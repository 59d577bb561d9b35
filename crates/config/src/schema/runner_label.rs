//! What jobs ask for, as it is written.

use fireactions_model::{IdError, Label};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns;

/// A label. The built-in queue and GitHub compare labels without case, Gitea and Forgejo with it, so both forms are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::LABEL))]
pub struct RunnerLabel {
    text: String,
    label: Label,
}

impl RunnerLabel {
    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As it is compared where case does not count.
    pub const fn label(&self) -> &Label {
        &self.label
    }
}

impl TryFrom<String> for RunnerLabel {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Ok(Self { label: Label::new(&text)?, text })
    }
}

impl From<RunnerLabel> for String {
    fn from(label: RunnerLabel) -> Self {
        label.text
    }
}
