//! Listeners: a Unix socket that only its group may use, TCP that is never open to strangers.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fireactions_model::network_rules::is_loopback;
use nix::unistd::{Gid, Group, chown};
use tokio::net::{UnixListener, UnixStream};

use crate::{Auth, Key};

mod peers;
mod serve;
mod stall;

pub use peers::Connections;
pub(crate) use serve::HEAD;
pub use serve::{serve, serve_until};

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
    permit(&fresh, mode, group).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)?;
    Ok(listener)
}

/// Gives a socket that is served already (one that an earlier server left to this one) the configured mode and group.
pub fn permit_unix(path: &Path, mode: u32, group: Option<&str>) -> Result<(), ListenError> {
    let group = group.map(find_group).transpose()?;
    permit(path, mode, group).map_err(|source| ListenError::Io { at: path.display().to_string(), source })
}

fn permit(path: &Path, mode: u32, group: Option<Gid>) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    match group {
        Some(group) => chown(path, None, Some(group)).map_err(Into::into),
        None => Ok(()),
    }
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

/// How callers of a TCP address are known. Without keys only loopback is served.
pub fn authority(address: SocketAddr, keys: &[Key]) -> Result<Auth, ListenError> {
    if !keys.is_empty() {
        return Ok(Auth::Token);
    }
    if is_loopback(address.ip()) { Ok(Auth::Loopback) } else { Err(ListenError::NeedsToken(address)) }
}
