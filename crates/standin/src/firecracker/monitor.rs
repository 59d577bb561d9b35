//! A client of QEMU's monitor (QMP).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// An emulated machine under load is slow, but not slower than this.
const DEADLINE: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Monitor {
    stream: UnixStream,
    answers: Receiver<Value>,
}

impl Monitor {
    /// Greets QEMU. `event` is called with each event, in a thread of its own; `gone` when the connection ends.
    pub(crate) fn start(
        stream: UnixStream,
        mut event: impl FnMut(&Value) + Send + 'static,
        gone: impl FnOnce() + Send + 'static,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("QEMU's monitor: {error}");
        let reader = BufReader::new(stream.try_clone().map_err(failed)?);
        let (sender, answers) = mpsc::channel();
        let read = move || {
            for line in reader.lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
                if message["event"].is_string() {
                    event(&message);
                } else if message["QMP"].is_null() {
                    let _ = sender.send(message);
                }
            }
            gone();
        };
        std::thread::Builder::new().name("qmp".to_owned()).spawn(read).map_err(failed)?;
        let mut monitor = Self { stream, answers };
        monitor.ask("qmp_capabilities", &Value::Null)?;
        Ok(monitor)
    }

    /// Runs a command; the error is QEMU's own.
    pub(crate) fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        let message = if arguments.is_null() {
            json!({ "execute": command })
        } else {
            json!({"execute": command, "arguments": arguments})
        };
        self.stream
            .write_all(format!("{message}\n").as_bytes())
            .map_err(|error| format!("QEMU's monitor, {command}: {error}"))?;
        let answer = self.answers.recv_timeout(DEADLINE);
        let mut answer = answer.map_err(|error| format!("QEMU did not answer {command}: {error}"))?;
        match answer["error"]["desc"].as_str() {
            Some(error) => Err(format!("QEMU refused {command}: {error}")),
            None => Ok(answer["return"].take()),
        }
    }

    /// Waits until a migration, in either direction, has ended well.
    pub(crate) fn migrated(&mut self) -> Result<(), String> {
        let end = Instant::now() + DEADLINE;
        loop {
            let status = self.ask("query-migrate", &Value::Null)?;
            match status["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => return Err(format!("QEMU's migration failed: {status}")),
                _ if Instant::now() >= end => return Err(format!("QEMU's migration does not end: {status}")),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}
