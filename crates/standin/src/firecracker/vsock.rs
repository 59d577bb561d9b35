//! The host's side of a guest's vsock: Firecracker's Unix sockets.

use std::fs;
use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a host may take to say which port it wants.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// The socket for connections that the host begins. Nothing in these guests listens, so each of them is closed once
/// it has said `CONNECT port`, as Firecracker does when the guest refuses.
#[derive(Debug)]
pub(crate) struct Listener {
    path: PathBuf,
}

impl Listener {
    /// Binds the socket, which must not be there yet, and serves it.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        std::thread::Builder::new().name("vsock".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                refuse(stream);
            }
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// Takes the socket away; another one may be bound there.
    pub(crate) fn remove(self) {
        let _ = fs::remove_file(self.path);
    }
}

fn refuse(mut stream: UnixStream) {
    let _ = stream.set_read_timeout(Some(CONNECT_DEADLINE));
    let mut byte = [0];
    for _ in 0..32 {
        if stream.read_exact(&mut byte).is_err() || byte == *b"\n" {
            return;
        }
    }
}

/// Where the guest's connections to a port of the host go.
pub(crate) fn host_port(uds: &str, port: u32) -> PathBuf {
    super::inside::host_path(format!("{uds}_{port}"))
}

/// The port that the agent dials, from the kernel's command line.
pub(crate) fn agent_port(line: &str) -> Option<u32> {
    line.split_whitespace().find_map(|word| word.strip_prefix("fireactions.vsock=")?.parse().ok())
}
