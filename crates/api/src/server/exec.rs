//! `/api/v1/machines/{id}/exec`: a program in a machine over a WebSocket.
//!
//! The first message is text: an `ExecRequest`. Every later one is binary, a channel byte and its data
//! ([`crate::channel`]). The server's `Exit` is its last message.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::response::Response;
use fireactions_model::MachineId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use super::auth::Caller;
use super::extract::Path;
use crate::channel;
use crate::engine::Result;
use crate::{ErrorBody, ExecEvent, ExecExit, ExecInput, ExecRequest, Fault};

/// Until the request must be there after the upgrade.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// Until a peer must have taken one message.
const SEND: Duration = Duration::from_secs(60);
/// A ping is due after this much silence of ours, so that a peer that is gone is noticed.
const PING: Duration = Duration::from_secs(20);
/// Silence of the peer, pongs included, after which it counts as gone.
const SILENCE: Duration = Duration::from_secs(60);

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(exec))
}

/// Runs a program in a machine: a WebSocket with the subprotocol `fireactions.exec.v1`. First message: an `ExecRequest`
/// as text. Then binary messages of a channel byte and data: 0 stdin (empty = end), 1 stdout, 2 stderr, 3 terminal size
/// (rows and columns, 16 bits each, big-endian), 4 exit (`ExecExit` as JSON).
#[utoipa::path(get, path = "/api/v1/machines/{id}/exec", tag = "machines", params(("id" = MachineId, Path)),
    responses((status = 101, description = "WebSocket", body = ExecRequest),
        (status = 404, body = ErrorBody)))]
async fn exec(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<MachineId>,
    upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let upgrade = upgrade.map_err(|error| {
        Fault::invalid(format!("this is a WebSocket: {error}"))
            .hint("use `fireactions exec` or a WebSocket client")
    })?;
    // An unknown machine is a plain 404, which no WebSocket could say.
    context.engine.machine(&id).await?;
    let permit = context.room.session()?;
    Ok(upgrade
        .protocols([channel::SUBPROTOCOL])
        .max_message_size(channel::MAX_MESSAGE)
        .max_frame_size(channel::MAX_MESSAGE)
        .on_upgrade(move |socket| serve(context, caller, id, socket, permit)))
}

async fn serve(
    context: Context,
    caller: Caller,
    id: MachineId,
    mut socket: WebSocket,
    permit: OwnedSemaphorePermit,
) {
    let ended = tokio::select! {
        ended = session(&context, &id, &mut socket) => ended,
        () = context.pausing.cancelled() => Err("the server is being replaced by another; the machine continues to run, \
             so try again".to_owned()),
        () = context.closing.cancelled() => Err("the server is stopping".to_owned()),
        () = caller.logged_out() => Err("the login has ended; log in again".to_owned()),
    };
    let exit = ended.unwrap_or_else(ExecExit::Failed);
    let last = channel::exit(&exit);
    // The peer may be gone, which is how most sessions that fail end; nobody is left to tell.
    if timeout(SEND, socket.send(Message::Binary(last))).await.is_ok_and(|sent| sent.is_ok()) {
        let _ = timeout(SEND, socket.send(Message::Close(None))).await;
    }
    drop(permit);
}

/// Runs until the program ends. The error is for people.
async fn session(
    context: &Context,
    id: &MachineId,
    socket: &mut WebSocket,
) -> std::result::Result<ExecExit, String> {
    let request = first_message(socket).await?;
    let start = context.engine.exec(id, request);
    let mut program = timeout(context.limits.request, start)
        .await
        .map_err(|_| format!("machine {id} did not start the program in time"))?
        .map_err(|fault| fault.message)?;
    // Not at once: a program may be over before the client has answered, and the answer's broken pipe would hide its
    // exit.
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
    let mut heard = tokio::time::Instant::now();
    // What the program has not taken yet. While it is there nothing more is read from the socket: back-pressure.
    let mut pending: Option<ExecInput> = None;
    loop {
        tokio::select! {
            event = program.output.recv() => match event {
                Some(ExecEvent::Output(stream, data)) => {
                    for piece in channel::output(stream, &data) {
                        send(socket, Message::Binary(piece)).await?;
                    }
                }
                Some(ExecEvent::Exit(exit)) => return Ok(exit),
                None => return Err(format!("the link to machine {id} broke")),
            },
            slot = program.input.reserve(), if pending.is_some() => match slot {
                Ok(slot) => {
                    if let Some(input) = pending.take() {
                        slot.send(input);
                    }
                    heard = tokio::time::Instant::now();
                }
                // It reads no more; its exit is on the way.
                Err(_) => pending = None,
            },
            message = socket.recv(), if pending.is_none() => {
                heard = tokio::time::Instant::now();
                match message {
                    Some(Ok(Message::Binary(bytes))) => pending = Some(channel::parse_input(bytes)?),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Text(_))) => return Err("a text message after the first".to_owned()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err("the client went away".to_owned()),
                }
            },
            _ = ping.tick() => {
                if pending.is_none() && heard.elapsed() > SILENCE {
                    return Err("the client went silent".to_owned());
                }
                send(socket, Message::Ping(axum::body::Bytes::new())).await?;
            }
        }
    }
}

async fn first_message(socket: &mut WebSocket) -> std::result::Result<ExecRequest, String> {
    match timeout(FIRST_MESSAGE, socket.recv()).await {
        Ok(Some(Ok(Message::Text(text)))) => {
            let request: ExecRequest = serde_json::from_str(&text)
                .map_err(|error| format!("the request cannot be read: {error}"))?;
            channel::check_request(&request)?;
            Ok(request)
        }
        Ok(Some(Ok(_))) => Err("the first message is not an ExecRequest as text".to_owned()),
        Ok(Some(Err(_)) | None) => Err("the client went away".to_owned()),
        Err(_) => Err("no request came".to_owned()),
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> std::result::Result<(), String> {
    match timeout(SEND, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("the client went away".to_owned()),
        Err(_) => Err("the client does not read the output".to_owned()),
    }
}
