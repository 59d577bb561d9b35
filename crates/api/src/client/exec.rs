//! `/api/v1/machines/{id}/exec`: a WebSocket over an upgraded connection of the same client, so that sockets,
//! tokens and TLS are as for every other call.

use bytes::Bytes;
use fireactions_model::MachineId;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use reqwest::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use reqwest::{StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::{Client, Result};
use crate::channel;
use crate::{ClientError, ExecEvent, ExecInput, ExecRequest};

type Socket = WebSocketStream<Upgraded>;

/// A program that runs in a machine. Split it to write and read at once; dropping both halves hangs up.
#[derive(Debug)]
pub struct RemoteExec {
    /// To the program.
    pub input: RemoteInput,
    /// From the program.
    pub output: RemoteOutput,
}

/// To the program.
#[derive(Debug)]
pub struct RemoteInput {
    client: Client,
    sink: SplitSink<Socket, Message>,
}

/// From the program.
#[derive(Debug)]
pub struct RemoteOutput {
    client: Client,
    stream: SplitStream<Socket>,
}

impl Client {
    /// Runs a program in a machine.
    pub async fn exec(&self, id: &MachineId, request: &ExecRequest) -> Result<RemoteExec> {
        let key = generate_key();
        let handshake = self
            .get(&format!("/api/v1/machines/{id}/exec"))
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .header(SEC_WEBSOCKET_PROTOCOL, channel::SUBPROTOCOL);
        let answer = tokio::time::timeout(super::CALL, self.send(handshake))
            .await
            .map_err(|_| self.protocol("no answer in time"))??;
        let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_vec());
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes())
        {
            return Err(self.protocol("no WebSocket"));
        }
        let upgraded = answer.upgrade().await.map_err(|error| self.broken(&error))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(channel::MAX_MESSAGE))
            .max_frame_size(Some(channel::MAX_MESSAGE));
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        let text = serde_json::to_string(request)
            .map_err(|error| self.protocol(format!("this request cannot be written as JSON: {error}")))?;
        socket.send(Message::text(text)).await.map_err(|error| self.lost(&error))?;
        let (sink, stream) = socket.split();
        Ok(RemoteExec {
            input: RemoteInput { client: self.clone(), sink },
            output: RemoteOutput { client: self.clone(), stream },
        })
    }

    fn lost(&self, error: &tokio_tungstenite::tungstenite::Error) -> ClientError {
        ClientError::Broken { target: self.target.clone(), message: error.to_string() }
    }
}

impl RemoteInput {
    /// Sends input; waits while the program does not take it.
    pub async fn send(&mut self, input: &ExecInput) -> Result<()> {
        for message in channel::input(input) {
            self.sink.send(Message::Binary(message)).await.map_err(|error| self.client.lost(&error))?;
        }
        Ok(())
    }
}

impl RemoteOutput {
    /// The next event; nothing when the server hung up.
    pub async fn next(&mut self) -> Option<Result<ExecEvent>> {
        loop {
            return match self.stream.next().await? {
                Ok(Message::Binary(bytes)) => Some(self.read(bytes)),
                Ok(Message::Close(_)) => None,
                Ok(_) => continue,
                Err(error) => Some(Err(self.client.lost(&error))),
            };
        }
    }

    fn read(&self, bytes: Bytes) -> Result<ExecEvent> {
        channel::parse_event(bytes).map_err(|message| self.client.protocol(message))
    }
}
