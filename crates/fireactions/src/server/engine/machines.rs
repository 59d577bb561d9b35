//! Machines: rows, consoles, programs run inside.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fireactions_api::engine::{EngineStream, ExecSession, Result};
use fireactions_api::{ExecEvent, ExecExit, ExecInput, ExecRequest, Fault};
use fireactions_guest_proto as guest;
use fireactions_guest_proto::host::{Exec, Link};
use fireactions_image::ImageConfig;
use fireactions_machine::{
    ConsoleError, ConsolePiece, HoldError, Machinery, console_from, console_tail, environment,
};
use fireactions_model::{MachineId, MachineState, MachineView, Machines, RetireError, Stream};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;

/// More of a console is never sent at once.
const CONSOLE_MAX: u64 = 4 << 20;
/// Of what it grows by, this much at once.
const CONSOLE_PIECE: u64 = 64 << 10;
const EXEC_START: Duration = Duration::from_secs(15);
const LINK_AGAIN: Duration = Duration::from_millis(20);
/// Queued pieces each way; a piece is at most 64 KiB.
const QUEUE: usize = 16;

pub(super) fn unknown(id: &MachineId) -> Fault {
    Fault::not_found(format!("there is no machine {id}"))
        .hint("see `fireactions ps`; a machine is gone when its job is over")
}

pub(super) fn view(machines: &Machinery, id: &MachineId) -> Result<MachineView> {
    machines.view(id).ok_or_else(|| unknown(id))
}

/// Lets an idle or held machine go.
pub(super) async fn remove(machines: &Machinery, id: &MachineId) -> Result<MachineView> {
    let before = view(machines, id)?;
    match machines.retire(id, "removed by an operator").await {
        Ok(()) => Ok(machines.view(id).unwrap_or(before)),
        Err(RetireError::Unknown(_)) if before.state == MachineState::Stopping => Ok(before),
        Err(RetireError::Unknown(_)) => Err(unknown(id)),
        Err(RetireError::Busy(_)) => {
            let fault = Fault::conflict(format!("machine {id} has a job and is not removed"));
            Err(match machines.view(id).and_then(|view| view.job) {
                Some(job) => {
                    fault.hint(format!("wait for its end, or cancel it: `fireactions jobs cancel {job}`"))
                }
                None => fault.hint("wait for its end, or cancel it; `fireactions ps` shows it"),
            })
        }
    }
}

/// Has a machine held for so long once its job has ended.
pub(super) async fn hold(machines: &Machinery, id: &MachineId, secs: Option<u64>) -> Result<MachineView> {
    let told = |error: &HoldError| error.to_string();
    machines.hold(id, secs.map(Duration::from_secs)).await.map_err(|error| match &error {
        HoldError::Unknown(_) => unknown(id),
        HoldError::Idle(_) => Fault::conflict(told(&error))
            .hint("only the machine of a job can be held; `fireactions ps` shows which has one"),
        HoldError::Ended(_) => match machines.view(id).and_then(|view| view.held_until) {
            Some(until) => Fault::conflict(format!("machine {id} is held already, until {until:.0}"))
                .hint(format!("`fireactions machines remove {id}` lets it go")),
            None => Fault::conflict(told(&error)).hint("its machine goes; run the job again to look into it"),
        },
        HoldError::Stopping => Fault::unavailable(told(&error)),
        HoldError::Store(_) => Fault::internal(told(&error)),
    })
}

/// The console's tail, then what follows.
pub(super) async fn console(
    machines: &Machinery,
    id: &MachineId,
    tail: Option<u64>,
    follow: bool,
) -> Result<EngineStream<Bytes>> {
    view(machines, id)?;
    let path = machines.console(id);
    let ConsolePiece { bytes: mut start, next } = match console_tail(&path, CONSOLE_MAX).await {
        Ok(tail) => tail,
        Err(ConsoleError::Absent) => ConsolePiece::default(),
        Err(error) => return Err(Fault::internal(error.to_string())),
    };
    if let Some(lines) = tail {
        start = last_lines(&start, lines);
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (machines, id) = (machines.clone(), id.clone());
    tokio::spawn(async move {
        if sender.send(Ok(Bytes::from(start))).await.is_ok() && follow {
            follow_console(&machines, &id, path, next, &sender).await;
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// Sends what the console grows by until the machine is gone or nobody listens. The file is bounded by dropping
/// its older half, which is seen as a file that became shorter: then the rest of it is sent from the start.
async fn follow_console(
    machines: &Machinery,
    id: &MachineId,
    path: PathBuf,
    mut at: u64,
    sender: &mpsc::Sender<Result<Bytes>>,
) {
    while !sender.is_closed() {
        let gone = machines.view(id).is_none();
        while let Ok(ConsolePiece { bytes, next }) = console_from(&path, at, CONSOLE_PIECE).await
            && !bytes.is_empty()
        {
            at = next;
            if sender.send(Ok(Bytes::from(bytes))).await.is_err() {
                return;
            }
        }
        if gone {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn last_lines(bytes: &[u8], lines: u64) -> Vec<u8> {
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    if lines == 0 {
        return Vec::new();
    }
    // The newline that ends the last line starts no other.
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut newlines = body.iter().enumerate().rev().filter(|(_, b)| **b == b'\n');
    let from = newlines.nth(lines - 1).map_or(0, |(at, _)| at + 1);
    bytes[from..].to_vec()
}

/// The machine's agent. One that was just taken over from another server answers in a moment.
async fn linked(machines: &Machinery, machine: &MachineView) -> Result<(Link, Arc<ImageConfig>)> {
    let up = matches!(
        machine.state,
        MachineState::Ready | MachineState::Starting | MachineState::Busy | MachineState::Held
    );
    let end = Instant::now() + if up { EXEC_START } else { Duration::ZERO };
    loop {
        if let Some(found) = machines.link(&machine.id) {
            return Ok(found);
        }
        let now = view(machines, &machine.id)?;
        if Instant::now() >= end {
            return Err(Fault::unavailable(format!(
                "machine {} is {} and has no agent yet",
                now.id, now.state
            ))
            .hint("try again in a moment"));
        }
        tokio::time::sleep(LINK_AGAIN).await;
    }
}

/// Starts a program in a machine and joins its streams to the API's queues.
pub(super) async fn exec(machines: &Machinery, id: &MachineId, request: ExecRequest) -> Result<ExecSession> {
    let machine = view(machines, id)?;
    let (link, image) = linked(machines, &machine).await?;
    let request = guest::ExecRequest {
        argv: request.argv,
        env: environment(&image, request.env),
        user: request.user.unwrap_or_default(),
        workdir: String::new(),
        tty: request.tty.map(|size| guest::WinSize { rows: size.rows, cols: size.cols }),
    };
    let exec = timeout(EXEC_START, link.exec(request))
        .await
        .map_err(|_| {
            Fault::new(
                fireactions_api::Code::Timeout,
                format!("machine {id} did not start the program within {EXEC_START:?}"),
            )
        })?
        .map_err(|error| Fault::unavailable(format!("machine {id}: {error}")))?;
    let (input, to_guest) = mpsc::channel(QUEUE);
    let (from_guest, output) = mpsc::channel(QUEUE);
    tokio::spawn(join(exec, to_guest, from_guest));
    Ok(ExecSession { input, output })
}

/// Carries bytes both ways until the program ends or the user is gone; dropping the guest's end then ends the program.
async fn join(exec: Exec, mut input: mpsc::Receiver<ExecInput>, output: mpsc::Sender<ExecEvent>) {
    let Exec { stdin, output: mut from_guest, control } = exec;
    let feed = async move {
        let mut stdin = Some(stdin);
        while let Some(event) = input.recv().await {
            match event {
                ExecInput::Stdin(bytes) => {
                    if let Some(pipe) = &mut stdin
                        && pipe.write_all(&bytes).await.is_err()
                    {
                        stdin = None;
                    }
                }
                ExecInput::Eof => {
                    if let Some(mut pipe) = stdin.take() {
                        let _ = pipe.shutdown().await;
                    }
                }
                ExecInput::Resize(size) => {
                    let _ = control.resize(guest::WinSize { rows: size.rows, cols: size.cols }).await;
                }
            }
        }
        // The user hung up.
        control.kill();
    };
    let drain = async {
        while let Some((stream, bytes)) = from_guest.next().await {
            let stream = match stream {
                guest::Stream::Stdout => Stream::Stdout,
                guest::Stream::Stderr => Stream::Stderr,
            };
            if output.send(ExecEvent::Output(stream, bytes)).await.is_err() {
                return;
            }
        }
        let exit = match from_guest.exit().await {
            Ok(guest::Exit::Code(code)) => ExecExit::Code(code),
            Ok(guest::Exit::Signal(signal)) => ExecExit::Signal(signal),
            Ok(guest::Exit::Unstartable(reason)) => ExecExit::Failed(reason),
            Err(error) => ExecExit::Failed(error.to_string()),
        };
        let _ = output.send(ExecEvent::Exit(exit)).await;
    };
    // Also while the program reads nothing of what it is fed, and says nothing.
    let left = output.clone();
    tokio::pin!(feed);
    tokio::pin!(drain);
    tokio::select! {
        () = &mut drain => {}
        () = left.closed() => {}
        () = &mut feed => {
            // Its last words still count, for a moment.
            let _ = timeout(Duration::from_secs(5), drain).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_counts_whole_lines() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 1), b"c");
        assert_eq!(last_lines(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(last_lines(b"a\n", 0), b"");
    }
}
