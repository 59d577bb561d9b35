//! A guest that says what a test tells it to, and what such guests say.

use std::path::Path;

use fireactions_guest_proto::{
    Decoder, ExecRequest, Exit, Frame, GuestHello, GuestMsg, GuestState, JobResult, Kind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// A guest written by hand.
pub struct Rogue {
    socket: UnixStream,
    decoder: Decoder,
    pub nonce: u64,
    held: Vec<u8>,
}

impl Rogue {
    pub async fn meet(listener: &UnixListener) -> Rogue {
        let (socket, _) = listener.accept().await.unwrap();
        Self::greeted(socket).await.unwrap()
    }

    /// As a process in a guest with a vsock device; `None` when the host hangs up without a word.
    pub async fn dial(path: &Path) -> Option<Rogue> {
        Self::greeted(UnixStream::connect(path).await.ok()?).await
    }

    async fn greeted(socket: UnixStream) -> Option<Rogue> {
        let mut rogue = Rogue { socket, decoder: Decoder::new(1 << 20), nonce: 0, held: Vec::new() };
        rogue.nonce = rogue.hear().await?.nonce;
        Some(rogue)
    }

    pub async fn hear(&mut self) -> Option<Frame> {
        loop {
            let mut rest = &self.held[..];
            let frame = self.decoder.next(&mut rest);
            self.held = rest.to_vec();
            if let Some(frame) = frame {
                return Some(frame.unwrap());
            }
            let mut buffer = [0; 4096];
            let count = self.socket.read(&mut buffer).await.ok()?;
            if count == 0 {
                return None;
            }
            self.held.extend_from_slice(&buffer[..count]);
        }
    }

    /// False once the host has hung up.
    pub async fn raw(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    pub async fn frame(&mut self, kind: Kind, channel: u8, stream: u32, body: &[u8]) -> bool {
        let frame = Frame { kind, channel, stream, nonce: self.nonce, body: body.to_vec() };
        self.raw(&frame.encode()).await
    }

    pub async fn say(&mut self, message: &GuestMsg) -> bool {
        self.frame(Kind::Control, 0, 0, &serde_json::to_vec(message).unwrap()).await
    }

    pub async fn hello(&mut self, state: GuestState) -> bool {
        self.say(&GuestMsg::Hello(hello(state))).await
    }

    pub async fn job(&mut self, offset: u64, data: &[u8]) -> bool {
        self.frame(Kind::Job, 1, 0, &[&offset.to_le_bytes(), data].concat()).await
    }
}

pub fn hello(state: GuestState) -> GuestHello {
    GuestHello { version: 1, agent_version: "1".into(), boot_us: 1, kernel: "6".into(), state, secret: None }
}

pub fn running(acked: u64) -> GuestState {
    GuestState::Running { run: "j1".into(), pid: 5, acked }
}

pub fn ended(code: i32) -> JobResult {
    JobResult::new(Exit::Code(code))
}

pub fn exec() -> ExecRequest {
    ExecRequest { argv: vec![], env: vec![], user: String::new(), workdir: String::new(), tty: None }
}
