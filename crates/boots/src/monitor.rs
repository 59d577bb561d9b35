//! A connection to QEMU's control socket, for questions only.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// A QEMU whose main loop goes round answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Monitor {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Monitor {
    /// The driver must have let go of the socket: QEMU serves one client at a time.
    pub(crate) async fn connect(socket: &Path) -> anyhow::Result<Self> {
        let greet = async {
            let (reader, writer) = UnixStream::connect(socket).await?.into_split();
            let mut monitor = Self { lines: BufReader::new(reader).lines(), writer };
            monitor.lines.next_line().await?;
            monitor.execute("qmp_capabilities", Value::Null).await?;
            Ok::<_, anyhow::Error>(monitor)
        };
        tokio::time::timeout(DEADLINE, greet).await.context("QEMU does not answer on its control socket")?
    }

    /// One QMP command.
    pub(crate) async fn execute(&mut self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        let mut request = json!({ "execute": command });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        let exchange = async {
            self.writer.write_all(format!("{request}\n").as_bytes()).await?;
            loop {
                let line = self.lines.next_line().await?.context("QEMU closed the connection")?;
                let mut answer: Value = serde_json::from_str(&line)?;
                if answer.get("return").is_some() {
                    return Ok(answer["return"].take());
                }
                if let Some(error) = answer.get("error") {
                    bail!("{error}");
                }
            }
        };
        tokio::time::timeout(DEADLINE, exchange).await.with_context(|| format!("no answer to {command}"))?
    }

    /// One command of the monitor for people.
    pub(crate) async fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": line })).await?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }
}
