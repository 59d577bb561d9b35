//! The serial port: whoever is connected when a line is written gets it; with nobody there it is lost, as with QEMU.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Mutex;

/// The listening socket and its latest connection.
pub(crate) struct Console {
    listener: UnixListener,
    connected: Mutex<Option<UnixStream>>,
}

impl Console {
    pub(crate) fn new(listener: UnixListener) -> Self {
        // Connections that nobody has asked for wait in the kernel; there is no thread for them.
        let _ = listener.set_nonblocking(true);
        Self { listener, connected: Mutex::new(None) }
    }

    /// Writes one line.
    pub(crate) fn line(&self, text: &str) {
        let mut connected = self.connected.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while let Ok((stream, _)) = self.listener.accept() {
            *connected = Some(stream);
        }
        if let Some(stream) = connected.as_mut() {
            // A guest is not held up by a console that nobody reads.
            let _ = stream.set_nonblocking(true);
            let _ = stream.write_all(format!("{text}\r\n").as_bytes());
        }
    }
}
