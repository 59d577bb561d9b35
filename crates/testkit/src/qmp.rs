//! A connection to QEMU's control socket (QMP), for questions to a guest that is looked into.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// A QEMU whose main loop goes round answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// The connection. QEMU serves one client at a time.
#[derive(Debug)]
pub struct Monitor {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    events: Vec<Value>,
}

impl Monitor {
    /// Whoever had the socket (a server's driver) must have let go of it.
    ///
    /// # Errors
    /// When nobody listens, or QEMU does not answer within ten seconds.
    pub async fn connect(socket: &Path) -> io::Result<Self> {
        let greet = async {
            let (reader, writer) = UnixStream::connect(socket).await?.into_split();
            let mut monitor = Self { lines: BufReader::new(reader).lines(), writer, events: Vec::new() };
            monitor.lines.next_line().await?;
            monitor.execute("qmp_capabilities", Value::Null).await?;
            Ok(monitor)
        };
        within("QEMU's greeting", greet).await
    }

    /// One QMP command; what it returns.
    ///
    /// # Errors
    /// QEMU's own refusal in its words, a broken connection, or no answer within ten seconds.
    pub async fn execute(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        let mut request = json!({ "execute": command });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        let exchange = async {
            self.writer.write_all(format!("{request}\n").as_bytes()).await?;
            loop {
                let line = self.lines.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let mut answer: Value = serde_json::from_str(&line)?;
                if answer.get("return").is_some() {
                    return Ok(answer["return"].take());
                }
                if let Some(error) = answer.get("error") {
                    return Err(io::Error::other(error.to_string()));
                }
                self.events.push(answer);
            }
        };
        within(command, exchange).await
    }

    /// One command of the monitor for people, such as `info status`; its text.
    ///
    /// # Errors
    /// As for [`execute`](Self::execute).
    pub async fn ask(&mut self, line: &str) -> io::Result<String> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": line })).await?;
        Ok(answer.as_str().unwrap_or_default().replace('\r', ""))
    }

    /// What QEMU has said unasked so far.
    pub fn events(&self) -> &[Value] {
        &self.events
    }
}

async fn within<T>(what: &str, answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{what}: no answer within {DEADLINE:?}"));
    tokio::time::timeout(DEADLINE, answer).await.map_err(late)?
}
