//! Network cards.

use serde::Serialize;

use super::request::{Method, Request};
use super::{ApiError, Feature, Mac, RateLimiter, Version};

/// Smallest MTU of IPv4.
const MIN_MTU: u16 = 68;

/// `PUT /network-interfaces/{iface_id}`: a virtio network card on a tap. Before the start only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkInterface {
    /// Name: letters, digits and underscores.
    pub iface_id: String,
    /// The tap. Firecracker opens it by name, in its own network namespace, as the user it runs as.
    pub host_dev_name: String,
    /// The guest's hardware address; the guest makes one up when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_mac: Option<Mac>,
    /// MTU that the guest is told, 68 to 65535 bytes; nothing when absent. Since [`Feature::NetworkMtu`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Limits of what the guest receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_rate_limiter: Option<RateLimiter>,
    /// Limits of what the guest sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_rate_limiter: Option<RateLimiter>,
}

impl Request for NetworkInterface {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        format!("/network-interfaces/{}", self.iface_id)
    }

    fn check(&self, version: Version) -> Result<(), ApiError> {
        self.check_id(&self.iface_id)?;
        if self.mtu.is_some_and(|mtu| mtu < MIN_MTU) {
            return Err(self.invalid(format!("an MTU is {MIN_MTU} to 65535 bytes")));
        }
        version.require_if(self.mtu.is_some(), Feature::NetworkMtu)
    }
}
