//! The metadata service (MMDS), which the guest reaches at a link-local address.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Not;

use fireactions_model::MmdsVersion;
use serde::Serialize;
use serde_json::{Map, Value};

use super::request::{Method, Request};
use super::{ApiError, Feature, Version};

/// `PUT /mmds/config`: turns the service on. Before the start only, after the network interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MmdsConfig {
    /// Protocol.
    pub version: MmdsVersion,
    /// Interfaces (`iface_id`) through which the guest reaches it; at least one.
    pub network_interfaces: Vec<String>,
    /// A link-local address; 169.254.169.254 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<Ipv4Addr>,
    /// Answers in the text format of EC2, whatever the request accepts. Since [`Feature::ImdsCompat`].
    #[serde(skip_serializing_if = "Not::not")]
    pub imds_compat: bool,
}

impl Request for MmdsConfig {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        "/mmds/config".into()
    }

    fn check(&self, version: Version) -> Result<(), ApiError> {
        if self.network_interfaces.is_empty() {
            return Err(
                self.invalid("the service needs a network interface through which the guest reaches it")
            );
        }
        // RFC 3927 reserves the first and the last 256 of them.
        let fits = |ip: Ipv4Addr| ip.is_link_local() && (1..=254).contains(&ip.octets()[2]);
        if self.ipv4_address.is_some_and(|ip| !fits(ip)) {
            return Err(self.invalid("its address is not link-local (169.254.1.0 to 169.254.254.255)"));
        }
        version.require_if(self.imds_compat, Feature::ImdsCompat)
    }
}

/// The tree that the guest reads: objects and strings. It may hold a machine's registration, so `Debug` shows none of
/// it.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MmdsContents(pub Map<String, Value>);

impl fmt::Debug for MmdsContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MmdsContents({} entries)", self.0.len())
    }
}

/// `PUT /mmds`: replaces the whole tree, at any time. With [`super::MAX_BODY`] bytes it is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PutMmds(pub MmdsContents);

impl Request for PutMmds {
    type Answer = ();
    const METHOD: Method = Method::Put;
    fn path(&self) -> String {
        "/mmds".into()
    }
}
