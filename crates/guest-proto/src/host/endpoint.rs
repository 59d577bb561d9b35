//! Where a machine's agent is met.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// Connections that may wait to be accepted. Few: whoever waits there when the agent comes back is asked before it.
const BACKLOG: i32 = 16;

/// A Unix socket answers a dial at once or not at all.
const DIAL: Duration = Duration::from_secs(5);

/// A machine's end of the agent channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket of the VMM's (QEMU's chardev) that is dialled.
    Dial(PathBuf),
    /// A socket that the VMM dials when its guest does (Firecracker's vsock).
    ///
    /// The directory of `path` belongs to the VMM, so it is hostile: nothing in it is opened or followed. The socket is
    /// made at `staging`, a path that only the server can write to, given to the owner of the VMM's own socket (`path` without
    /// the port), or of the directory where that is not there yet, and moved to `path`, in place of whatever is there (a dead
    /// server's socket, most often). It stays when the link ends (the
    /// next link's may be there already) and goes with its directory.
    Listen {
        /// Where the VMM looks for it. Its length does not matter.
        path: PathBuf,
        /// Where it is made, on the same filesystem; at most 107 bytes.
        staging: PathBuf,
    },
}

/// An endpoint and its listening socket.
pub(super) struct Meeting {
    endpoint: Endpoint,
    listener: Option<UnixListener>,
}

impl Meeting {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, listener: None }
    }

    /// Whether it is the guest that decides how many connections there are.
    pub(super) fn is_dialled_by_guest(&self) -> bool {
        matches!(self.endpoint, Endpoint::Listen { .. })
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn connect(&mut self) -> io::Result<UnixStream> {
        match &self.endpoint {
            Endpoint::Dial(path) => timeout(DIAL, UnixStream::connect(path))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?,
            Endpoint::Listen { path, staging } => {
                if self.listener.is_none() {
                    self.listener = Some(listen(path, staging)?);
                }
                match &self.listener {
                    Some(listener) => Ok(listener.accept().await?.0),
                    None => Err(io::ErrorKind::NotConnected.into()),
                }
            }
        }
    }
}

/// Makes a socket that only the VMM's user, and root, can connect to.
fn listen(path: &Path, staging: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(staging)?;
    // Once more, for a shorter queue than the runtime's.
    rustix::net::listen(&listener, BACKLOG)?;
    std::fs::set_permissions(staging, std::fs::Permissions::from_mode(0o600))?;
    let vmm = std::fs::symlink_metadata(without_port(path))
        .or_else(|_| std::fs::symlink_metadata(path.parent().unwrap_or(Path::new("/"))))?;
    let own = std::fs::symlink_metadata(staging)?;
    if (vmm.uid(), vmm.gid()) != (own.uid(), own.gid()) {
        lchown(staging, Some(vmm.uid()), Some(vmm.gid()))?;
    }
    // Replaces a name without following it.
    std::fs::rename(staging, path)?;
    Ok(listener)
}

/// `v.sock` of `v.sock_1024`.
fn without_port(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.with_file_name(name.rsplit_once('_').map_or(name, |(vmm, _)| vmm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_in_the_vmms_directory_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (jail, victim) = (dir.path().join("jail"), dir.path().join("victim"));
        std::fs::create_dir(&jail).unwrap();
        std::fs::write(&victim, "untouched").unwrap();
        // As root the directory can be another's, as a VMM's is.
        let uid = std::fs::metadata(&jail).unwrap().uid();
        let owner = if uid == 0 { 64_321 } else { uid };
        std::os::unix::fs::chown(&jail, Some(owner), None).unwrap();
        let path = jail.join("v.sock_1024");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let listener = listen(&path, &dir.path().join("agent.sock")).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
        let socket = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((socket.uid(), socket.mode() & 0o777), (owner, 0o600));
        let (_client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        accepted.unwrap();
        assert!(!dir.path().join("agent.sock").exists());

        // In a directory that has been taken from the VMM it is the VMM's socket that tells whose.
        std::os::unix::fs::chown(&jail, Some(uid), None).unwrap();
        std::fs::write(jail.join("v.sock"), "").unwrap();
        std::os::unix::fs::chown(jail.join("v.sock"), Some(owner), None).unwrap();
        let _listener = listen(&path, &dir.path().join("agent.sock")).unwrap();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().uid(), owner);
    }
}
