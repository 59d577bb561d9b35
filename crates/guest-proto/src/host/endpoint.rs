//! Where a machine's agent is met.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// A Unix socket answers a dial at once or not at all.
const DIAL: Duration = Duration::from_secs(5);

/// A machine's end of the agent channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket of the VMM's (QEMU's chardev) that is dialled.
    Dial(PathBuf),
    /// A socket that the VMM dials when its guest does (Firecracker's vsock). It is made here, and replaced if a dead
    /// server left one. It stays when the link ends (the next link's may be there already) and goes with the run
    /// directory. Everybody who reaches its directory may connect: the directory is to be the VM's own.
    Listen(PathBuf),
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

    /// The next connection.
    pub(super) async fn connect(&mut self) -> io::Result<UnixStream> {
        match &self.endpoint {
            Endpoint::Dial(path) => timeout(DIAL, UnixStream::connect(path))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?,
            Endpoint::Listen(path) => {
                if self.listener.is_none() {
                    match std::fs::remove_file(path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                    let listener = UnixListener::bind(path)?;
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
                    self.listener = Some(listener);
                }
                match &self.listener {
                    Some(listener) => Ok(listener.accept().await?.0),
                    None => Err(io::ErrorKind::NotConnected.into()),
                }
            }
        }
    }
}
