//! Whose request it is.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, header};
use fireactions_model::MachineId;

use crate::sign::Purpose;
use crate::state::Session;
use crate::{Cache, CacheError};

/// The address at the other end, if whoever serves the router says it.
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// By the token of the path, if it has one, else by the header. Runners send a token of their own in the header, which
/// says nothing here.
pub(super) async fn enter(
    cache: &Cache,
    path: Option<&str>,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<Session, CacheError> {
    let bearer = || {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    };
    let token = path.or_else(bearer).ok_or(CacheError::Unknown("it shows no token"))?;
    cache.enter(token, peer).await
}

/// A signed address, taken apart.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) id: u64,
    machine: MachineId,
    until: u64,
    signature: String,
}

impl Address {
    /// From a path's parts and the query. Other parameters of the query do not matter.
    pub(super) fn parse(machine: &str, id: &str, query: &str) -> Result<Self, CacheError> {
        let unknown = || CacheError::Unknown("this address is none of this host's, or has expired");
        let value = |name| super::query::value(query, name);
        Ok(Self {
            id: id.parse().map_err(|_| unknown())?,
            machine: MachineId::new(machine).map_err(|_| unknown())?,
            until: value("until").and_then(|until| until.parse().ok()).ok_or_else(unknown)?,
            signature: value("signature").ok_or_else(unknown)?,
        })
    }

    pub(super) async fn enter(
        &self,
        cache: &Cache,
        purpose: Purpose,
        peer: Option<IpAddr>,
    ) -> Result<Session, CacheError> {
        cache
            .enter_address(purpose, (self.machine.clone(), self.id), (self.until, &self.signature), peer)
            .await
    }
}
