//! The agent's socket: one host after the other, until it is told to fall silent.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fireactions_guest_proto::guest::Channel;

/// The connection of the moment, and whether there may be another.
#[derive(Clone, Default)]
pub(crate) struct Mouth(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    mute: bool,
    connected: Option<UnixStream>,
}

impl Mouth {
    /// Says nothing more to anybody, for ever. The kernel still takes connections, as QEMU would.
    pub(crate) fn shut(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.mute = true;
        if let Some(stream) = state.connected.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The channel of a session: it waits for a host as a virtio-serial port does.
    pub(crate) fn channel(&self, listener: UnixListener) -> Channel {
        let mouth = self.clone();
        Channel::Dial(Box::new(move || mouth.accept(&listener)))
    }

    /// The channel of a session that dials a Unix socket of the host, as a guest dials it by vsock.
    pub(crate) fn dialling(&self, path: PathBuf) -> Channel {
        let mouth = self.clone();
        Channel::Dial(Box::new(move || {
            let mute = || mouth.0.lock().unwrap_or_else(PoisonError::into_inner).mute;
            while mute() {
                std::thread::park();
            }
            let stream = UnixStream::connect(&path)?;
            let mut state = mouth.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.connected = Some(stream.try_clone()?);
            Ok(stream.into())
        }))
    }

    fn accept(&self, listener: &UnixListener) -> io::Result<OwnedFd> {
        loop {
            let mute = || self.0.lock().unwrap_or_else(PoisonError::into_inner).mute;
            while mute() {
                std::thread::park();
            }
            let (stream, _) = listener.accept()?;
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !state.mute {
                state.connected = Some(stream.try_clone()?);
                return Ok(stream.into());
            }
        }
    }
}
