//! What machines use.

use fireactions_model::MachineId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a machine uses of the host now: its VMM, and so its guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineUsage {
    /// Which machine.
    pub machine: MachineId,
    /// Memory in bytes, without huge pages, which are set aside beforehand, and without page cache that nobody has asked for lately.
    pub memory: u64,
    /// Thousandths of a processor, on average since the look before, which is at most 10 seconds old. Absent at the first look at a
    /// machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicores: Option<u64>,
}
