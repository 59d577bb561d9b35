//! What a guest has set up before it is anybody's.

use serde::{Deserialize, Serialize};

/// What the agent does in a pool's guests besides joining image and scratch disk. All of it stands on the kernel command
/// line, and a template has it done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct GuestSetup {
    /// Kernel modules to load from the kernel's own tree, with what they need, in this order.
    pub modules_load: Vec<String>,
    /// Directories of the guest that lie on the scratch disk itself instead of in the overlay above the image, besides
    /// those of container engines, which always do. Absolute, printable ASCII without spaces.
    pub data_dirs: Vec<String>,
    /// Where the forge's runner works, which lies there, too: absolute, or below each directory in which images have runners.
    /// Printable ASCII without spaces.
    pub work_folder: Option<String>,
    /// MiB of the scratch disk that are swap; 0 for none.
    pub swap_mib: u32,
}
