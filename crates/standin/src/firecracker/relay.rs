//! Between the emulated guest's virtio-serial port and the host's vsock socket: while the guest's agent has its port
//! open and the host listens, there is one connection; when one side ends it, the other side's ends too.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Between two attempts to reach the host, as long as nobody listens.
const PAUSE: Duration = Duration::from_millis(50);

/// Shared with whoever knows what the guest does.
#[derive(Clone)]
pub(crate) struct Relay(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    open: bool,
    connections: Vec<UnixStream>,
}

impl Relay {
    /// Relays from QEMU's abstract socket to the host's, for ever.
    pub(crate) fn start(qemu: String, host: PathBuf, open: bool) -> io::Result<Self> {
        let state = State { open, ..State::default() };
        let relay = Self(Arc::new((Mutex::new(state), Condvar::new())));
        let own = relay.clone();
        std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            loop {
                own.wait();
                // Nobody there, or gone again: the guest tries anew.
                let _ = own.connect(&qemu, &host);
                std::thread::sleep(PAUSE);
            }
        })?;
        Ok(relay)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest has opened or closed its port.
    pub(crate) fn set_open(&self, open: bool) {
        let mut state = self.state();
        state.open = open;
        if !open {
            for stream in state.connections.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        drop(state);
        self.0.1.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state().open
    }

    fn wait(&self) {
        let mut state = self.state();
        while !state.open {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn connect(&self, qemu: &str, host: &Path) -> io::Result<()> {
        let host = UnixStream::connect(host)?;
        let guest = UnixStream::connect_addr(&SocketAddr::from_abstract_name(qemu)?)?;
        self.state().connections = vec![host.try_clone()?, guest.try_clone()?];
        let (from, to) = (guest.try_clone()?, host.try_clone()?);
        let up = std::thread::Builder::new().name("relay-up".to_owned()).spawn(move || pump(from, to))?;
        pump(host, guest);
        let _ = up.join();
        self.state().connections.clear();
        Ok(())
    }
}

/// Copies until one side ends, and then ends both.
fn pump(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
