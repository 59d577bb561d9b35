//! Listeners: a Unix socket that only its group may use, TCP that is never open to strangers.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use nix::unistd::{Gid, Group, chown};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::{Auth, Token};

/// How long open requests may go on after the server closes.
const GRACE: Duration = Duration::from_secs(5);

/// Why a listener was not had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody serves this socket.
    #[error("another server answers at {0}; stop it first, or set another api_socket")]
    InUse(PathBuf),
    /// The path is taken by something that is no socket.
    #[error("{0} exists and is not a socket; move it away, or set another api_socket")]
    NotASocket(PathBuf),
    /// No such group.
    #[error(
        "there is no group '{0}' for the API socket; create it (groupadd {0}) or change the configuration"
    )]
    NoGroup(String),
    /// A non-loopback address without a token.
    #[error("{0} is not a loopback address and no token is set; set api_token_file, or bind to 127.0.0.1")]
    NeedsToken(SocketAddr),
    /// The system refused.
    #[error("cannot listen at {at}: {source}")]
    Io {
        /// Path or address.
        at: String,
        /// Why.
        source: io::Error,
    },
}

/// Binds `path` with permission bits `mode` (0660 unless configured), owned by `group` if given. A socket that nobody answers is left over from a dead
/// server and is replaced.
pub async fn bind_unix(path: &Path, mode: u32, group: Option<&str>) -> Result<UnixListener, ListenError> {
    let failed = |source: io::Error| ListenError::Io { at: path.display().to_string(), source };
    let group = group.map(find_group).transpose()?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    remove_stale(path).await?;
    // Bound under a name of our own and moved into place only when its permissions are right: a client never
    // sees a socket that is open to more, or one that nobody listens at.
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(failed)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    if let Some(group) = group {
        chown(&fresh, None, Some(group)).map_err(|error| failed(error.into()))?;
    }
    std::fs::rename(&fresh, path).map_err(failed)?;
    Ok(listener)
}

fn find_group(name: &str) -> Result<Gid, ListenError> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        _ => Err(ListenError::NoGroup(name.to_owned())),
    }
}

async fn remove_stale(path: &Path) -> Result<(), ListenError> {
    use std::os::unix::fs::FileTypeExt;
    let failed = |source: io::Error| ListenError::Io { at: path.display().to_string(), source };
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !kind.is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match tokio::time::timeout(Duration::from_secs(2), UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        // Answered, or so busy that its backlog is full: somebody is there.
        Ok(Ok(_)) | Err(_) => Err(ListenError::InUse(path.to_owned())),
        Ok(Err(error)) => Err(failed(error)),
    }
}

/// Binds a TCP address and says how its callers are known. Without a token only loopback is bound.
pub async fn bind_tcp(address: SocketAddr, token: Option<Token>) -> Result<(TcpListener, Auth), ListenError> {
    let auth = match token {
        Some(token) => Auth::Token(token),
        None if address.ip().is_loopback() => Auth::Loopback,
        None => return Err(ListenError::NeedsToken(address)),
    };
    let failed = |source| ListenError::Io { at: address.to_string(), source };
    Ok((TcpListener::bind(address).await.map_err(failed)?, auth))
}

/// Serves until `closing`, then lets open requests end for a few seconds.
pub async fn serve<L>(listener: L, router: Router, closing: CancellationToken) -> io::Result<()>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let ended = axum::serve(listener, router).with_graceful_shutdown(closing.clone().cancelled_owned());
    let late = async {
        closing.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = ended.into_future() => ended,
        () = late => Ok(()),
    }
}
