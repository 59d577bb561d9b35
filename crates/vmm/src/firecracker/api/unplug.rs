//! Taking devices away.

use serde::Serialize;

use super::request::{Method, Request};
use super::{ApiError, Feature, Version};

/// `DELETE /drives/{id}` and `DELETE /network-interfaces/{id}`: takes a device out of a running machine, after the guest
/// has let go of it. A preview of Firecracker's since [`Feature::Unplug`]; the process must have been started with
/// `--enable-pci`. Firecracker documents it in `docs/device-hotplug.md` and not in the description of its API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Unplug {
    /// A drive.
    Drive(String),
    /// A network card.
    NetworkInterface(String),
}

impl Request for Unplug {
    type Answer = ();
    const METHOD: Method = Method::Delete;

    fn path(&self) -> String {
        match self {
            Self::Drive(id) => format!("/drives/{id}"),
            Self::NetworkInterface(id) => format!("/network-interfaces/{id}"),
        }
    }

    fn check(&self, version: Version) -> Result<(), ApiError> {
        let (Self::Drive(id) | Self::NetworkInterface(id)) = self;
        self.check_id(id)?;
        version.require(Feature::Unplug)
    }
}
