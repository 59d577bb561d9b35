//! The API's listeners.

use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Context;
use axum::Router;
use fireactions_api::listen::{self, Connections};
use fireactions_api::{Api, Auth};
use fireactions_config::{Config, GroupName};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::sockets::{Name, Role, Sockets};

/// Most connections at once: of whoever scrapes the metrics, and of forges. The API has its own number.
const METRICS: usize = 32;
const WEBHOOK: usize = 128;
/// A client in a guest opens some ten for one entry. No guest takes the places of others.
const CACHE: Connections = Connections { all: 1024, each: 64 };
/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;

/// Running listeners.
pub(super) struct Listeners {
    tasks: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Listeners {
    /// Waits until every listener has ended (after `Api::close`).
    pub(super) async fn ended(self) {
        for task in self.tasks {
            if let Ok(Err(error)) = task.await {
                tracing::warn!(%error, "an API listener failed");
            }
        }
    }
}

/// The sockets that the configuration wants for its clients.
pub(super) fn wanted(config: &Config) -> Vec<Name> {
    let mut names = vec![Name::new(Role::Api, config.api_socket.display().to_string())];
    names.extend(config.bind_address.map(|address| Name::new(Role::Tcp, address.0.to_string())));
    names.extend(config.metrics.listen().map(|address| Name::new(Role::Metrics, address.to_string())));
    names.extend(cache_address(config).map(|address| Name::new(Role::Cache, address.to_string())));
    names.extend(config.webhook_listen().map(|address| Name::new(Role::Webhook, address.to_string())));
    names
}

/// Where guests find the cache of actions.
fn cache_address(config: &Config) -> Option<SocketAddrV4> {
    let own = &config.actions_cache;
    own.enabled.then(|| SocketAddrV4::new(config.network.gateway(), own.port))
}

/// Binds those that are wanted and not among `have`.
pub(super) async fn bind_missing(config: &Config, have: &[Name]) -> anyhow::Result<Sockets> {
    let mut sockets = Sockets::default();
    for name in wanted(config) {
        if have.iter().any(|other| other.is_at(&name)) {
            continue;
        }
        let (key, address) = match name.role {
            Role::Tcp => ("bind_address", config.bind_address.map(|address| address.0)),
            Role::Metrics => ("metrics.address", config.metrics.listen()),
            Role::Webhook => ("webhook.listen", config.webhook_listen()),
            Role::Cache => ("actions_cache.port", cache_address(config).map(SocketAddr::V4)),
            _ => ("api_socket", None),
        };
        let socket: OwnedFd = match address {
            Some(address) if name.role == Role::Cache => {
                bind_ahead(address).with_context(|| format!("{key}: {address} could not be bound"))?
            }
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                bound
                    .and_then(TcpListener::into_std)
                    .with_context(|| format!("{key} {address} could not be bound"))?
                    .into()
            }
            None => bind_api(config).await?,
        };
        sockets.add(name, socket);
    }
    Ok(sockets)
}

/// Binds an address that this host has only when its bridge is there.
fn bind_ahead(address: SocketAddr) -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ip_freebind(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

async fn bind_api(config: &Config) -> anyhow::Result<OwnedFd> {
    let path: &Path = &config.api_socket;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("directory {} could not be made", parent.display()))?;
    }
    let socket = listen::bind_unix(path, config.api_socket_mode.0, group(config)).await?;
    Ok(socket.into_std().context("api_socket")?.into())
}

/// Gives an API socket of an earlier server the mode and group that are configured now.
pub(super) fn permit(config: &Config) -> anyhow::Result<()> {
    Ok(listen::permit_unix(&config.api_socket, config.api_socket_mode.0, group(config))?)
}

fn group(config: &Config) -> Option<&str> {
    config.api_socket_group.as_ref().map(GroupName::as_str)
}

/// Serves the API, the metrics, the webhook and the cache from the sockets. `tcp` says how callers of the API's TCP address are known.
pub(super) fn serve(
    sockets: &Sockets,
    tcp: Option<Auth>,
    webhook: Router,
    cache: Option<Router>,
    api: &Api,
) -> anyhow::Result<Listeners> {
    let mut tasks = Vec::new();
    let connections = api.limits().connections;
    if let Some(socket) = unix(sockets, Role::Api)? {
        tasks.push(tokio::spawn(listen::serve(socket, api.router(Auth::Socket), api.clone(), connections)));
    }
    if let (Some(socket), Some(auth)) = (stream(sockets, Role::Tcp)?, tcp) {
        let router = api.router(auth);
        tasks.push(tokio::spawn(listen::serve(socket, router, api.clone(), connections)));
    }
    if let Some(socket) = stream(sockets, Role::Metrics)? {
        tasks.push(tokio::spawn(listen::serve(socket, api.metrics_router(), api.clone(), METRICS)));
    }
    if let Some(socket) = stream(sockets, Role::Webhook)? {
        tasks.push(tokio::spawn(listen::serve(socket, webhook, api.clone(), WEBHOOK)));
    }
    if let (Some(socket), Some(cache)) = (stream(sockets, Role::Cache)?, cache) {
        tasks.push(tokio::spawn(listen::serve(socket, cache, api.clone(), CACHE)));
    }
    Ok(Listeners { tasks })
}

/// The Unix socket for `role`, ready to accept.
pub(super) fn unix(sockets: &Sockets, role: Role) -> anyhow::Result<Option<UnixListener>> {
    let taken = || -> std::io::Result<Option<UnixListener>> {
        let Some(socket) = sockets.duplicate(role)? else { return Ok(None) };
        let socket = std::os::unix::net::UnixListener::from(socket);
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket).map(Some)
    };
    taken().with_context(|| format!("the {role:?} socket cannot be served"))
}

fn stream(sockets: &Sockets, role: Role) -> anyhow::Result<Option<TcpListener>> {
    let taken = || -> std::io::Result<Option<TcpListener>> {
        let Some(socket) = sockets.duplicate(role)? else { return Ok(None) };
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Some)
    };
    taken().with_context(|| format!("the {role:?} socket cannot be served"))
}

/// Binds the socket at which the next server asks for all others. Called with the state directory's lock held, so a
/// file that is there is a dead server's.
pub(super) fn bind_handover(path: &Path) -> anyhow::Result<(Name, OwnedFd)> {
    use std::os::unix::fs::PermissionsExt;
    let failed = || format!("the socket {} could not be made", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(failed),
        _ => {}
    }
    let socket = std::os::unix::net::UnixListener::bind(path).with_context(failed)?;
    // The directory keeps others out already; the peer is asked for its user besides.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(failed)?;
    Ok((Name::new(Role::Handover, path.display().to_string()), socket.into()))
}
