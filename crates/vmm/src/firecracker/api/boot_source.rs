//! What the guest boots.

use serde::Serialize;

use super::request::{Method, Request};

/// `PUT /boot-source`: kernel, initial root filesystem and command line. Before the start only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootSource {
    /// The kernel: an uncompressed ELF `vmlinux`, or a bzImage where [`super::Feature::BzImage`] is.
    pub kernel_image_path: String,
    /// The initramfs. With one, no drive is the root device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd_path: Option<String>,
    /// Kernel command line, at most 2048 bytes with what Firecracker adds. Its own default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_args: Option<String>,
}

impl Request for BootSource {
    type Answer = ();
    const METHOD: Method = Method::Put;
    fn path(&self) -> String {
        "/boot-source".into()
    }
}
