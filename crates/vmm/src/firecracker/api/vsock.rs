//! The socket between host and guest.

use serde::Serialize;

use super::request::{Method, Request};
use super::{ApiError, Version};

/// Smallest address of a guest; those below are the hypervisor's and the host's.
const MIN_CID: u32 = 3;

/// Longest `uds_path` in bytes: `sun_path` holds 107, and `_` and five digits of a port may follow.
const MAX_PATH: usize = 101;

/// `PUT /vsock`. Before the start only; a machine has one. Firecracker listens on `uds_path` for connections to the
/// guest and connects to `{uds_path}_{port}` for those of the guest to the host (CID 2), so whoever takes them listens
/// there before the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vsock {
    /// The guest's address, at least 3. It means nothing outside this machine.
    pub guest_cid: u32,
    /// Path of the socket, at most 101 bytes.
    pub uds_path: String,
}

impl Request for Vsock {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        "/vsock".into()
    }

    fn check(&self, _version: Version) -> Result<(), ApiError> {
        if self.guest_cid < MIN_CID {
            return Err(self.invalid(format!("a guest's CID is at least {MIN_CID}")));
        }
        if self.uds_path.len() > MAX_PATH {
            return Err(self.invalid(format!("the path of its socket has more than {MAX_PATH} bytes")));
        }
        Ok(())
    }
}
