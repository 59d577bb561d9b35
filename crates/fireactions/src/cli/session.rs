//! A program in a machine, joined to this process's standard input and output.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use bytes::Bytes;
use fireactions_api::client::{RemoteInput, RemoteOutput};
use fireactions_api::{Client, ExecEvent, ExecExit, ExecInput, ExecRequest, RemoteExec};
use fireactions_model::{MachineId, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::terminal::{self, Escape, Raw};
use super::{Ended, show};

/// Runs the program to its end and exits as it did.
pub(crate) async fn run(client: &Client, id: &MachineId, request: ExecRequest) -> Ended {
    let tty = request.tty.is_some();
    let RemoteExec { input, output } = client.exec(id, &request).await?;
    let raw = if tty { Some(Raw::begin()?) } else { None };
    let ended = tokio::select! {
        exit = receive(output) => exit,
        stopped = send(input, tty) => stopped,
    };
    drop(raw);
    let exit = ended?;
    if let ExecExit::Failed(reason) = &exit {
        show::note(reason);
    }
    Ok(code(exit.code()))
}

/// An exit code as a process can have it.
pub(crate) fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

async fn receive(mut output: RemoteOutput) -> anyhow::Result<ExecExit> {
    let mut stdout = tokio::io::stdout();
    let mut stderr = tokio::io::stderr();
    while let Some(event) = output.next().await {
        match event? {
            ExecEvent::Output(Stream::Stdout, data) => {
                stdout.write_all(&data).await?;
                stdout.flush().await?;
            }
            ExecEvent::Output(Stream::Stderr, data) => {
                stderr.write_all(&data).await?;
                stderr.flush().await?;
            }
            ExecEvent::Exit(exit) => return Ok(exit),
        }
    }
    bail!("the server closed the connection before the program's end")
}

/// Sends what is typed. Returns only when the user leaves or the connection breaks.
async fn send(mut to: RemoteInput, tty: bool) -> anyhow::Result<ExecExit> {
    let mut stdin = tokio::io::stdin();
    let mut resized = signal(SignalKind::window_change())?;
    let mut escape = Escape::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut open = true;
    loop {
        tokio::select! {
            read = stdin.read(&mut buffer), if open => {
                let count = read?;
                if tty && escape.typed(&buffer[..count], Instant::now()) {
                    return Ok(ExecExit::Failed("left the session".to_owned()));
                }
                open = count > 0;
                let input = if open { ExecInput::Stdin(Bytes::copy_from_slice(&buffer[..count])) } else { ExecInput::Eof };
                if to.send(&input).await.is_err() {
                    // The program may have ended; its exit comes by the other way, which says more.
                    open = false;
                }
            }
            _ = resized.recv(), if tty => {
                if let Ok(size) = terminal::size() && to.send(&ExecInput::Resize(size)).await.is_err() {
                    open = false;
                }
            }
            () = std::future::pending(), if !open => {}
        }
    }
}
