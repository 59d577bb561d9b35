//! As much of QMP as the driver uses, and the end of the process, which QMP tells first.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// The control socket. One client at a time, as with QEMU.
#[derive(Clone, Default)]
pub(crate) struct Monitor {
    client: Arc<Mutex<Option<UnixStream>>>,
}

impl Monitor {
    /// Starts to serve clients, in a thread of its own. A deaf one accepts nobody.
    pub(crate) fn start(listener: UnixListener, deaf: bool) -> std::io::Result<Self> {
        let monitor = Self::default();
        let serving = monitor.clone();
        std::thread::Builder::new().name("qmp".to_owned()).spawn(move || {
            if deaf {
                loop {
                    std::thread::park();
                }
            }
            while let Ok((stream, _)) = listener.accept() {
                // Whatever ended the connection: the next client is welcome.
                let _ = serving.serve(stream);
                *serving.client() = None;
            }
        })?;
        Ok(monitor)
    }

    fn client(&self) -> std::sync::MutexGuard<'_, Option<UnixStream>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: UnixStream) -> std::io::Result<()> {
        let reader = BufReader::with_capacity(1024, stream.try_clone()?);
        *self.client() = Some(stream);
        self.say(
            &json!({"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}, "capabilities": []}}),
        );
        for line in reader.lines() {
            let asked: Value = serde_json::from_str(&line?)?;
            let answer = match asked["execute"].as_str().unwrap_or_default() {
                "qmp_capabilities" => json!({"return": {}}),
                "query-status" => {
                    json!({"return": {"status": "running", "running": true, "singlestep": false}})
                }
                "quit" => {
                    self.say(&json!({"return": {}}));
                    self.end("host-qmp-quit", false);
                }
                other => {
                    json!({"error": {"class": "CommandNotFound", "desc": format!("no command '{other}'")}})
                }
            };
            self.say(&answer);
        }
        Ok(())
    }

    fn say(&self, message: &Value) {
        if let Some(client) = self.client().as_mut() {
            let _ = client.write_all(format!("{message}\n").as_bytes());
        }
    }

    /// Tells the reason and ends the process, with QEMU's exit code: zero, also after a guest's panic.
    pub(crate) fn end(&self, reason: &str, guest: bool) -> ! {
        self.say(&json!({
            "event": "SHUTDOWN", "data": {"guest": guest, "reason": reason}, "timestamp": {"seconds": 0, "microseconds": 0}
        }));
        std::process::exit(0)
    }
}
