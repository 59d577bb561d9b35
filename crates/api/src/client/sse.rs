//! Reads server-sent events (WHATWG HTML, section 9.2), as far as our server writes them.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use futures::{StreamExt, stream};
use reqwest::Response;

use super::{Client, ClientError, ClientStream};
use crate::ErrorBody;

/// Longest event: a live view of thousands of jobs and machines.
const MAX_EVENT: usize = 32 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Splits bytes into events.
#[derive(Default)]
pub(crate) struct Parser {
    buffer: BytesMut,
    /// Bytes of it in which there is no end of a line.
    searched: usize,
    current: Message,
    pub(crate) ready: VecDeque<Message>,
}

impl Parser {
    /// Takes more bytes. The error is for people.
    pub(crate) fn push(&mut self, bytes: &Bytes) -> Result<(), String> {
        self.buffer.extend_from_slice(bytes);
        while let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(self.searched + end);
            self.buffer.advance(1);
            self.searched = 0;
            let line = std::str::from_utf8(&line).map_err(|_| "an event that is not UTF-8".to_owned())?;
            self.line(line.strip_suffix('\r').unwrap_or(line));
            if self.current.data.len() > MAX_EVENT {
                return Err("an event that is too long".to_owned());
            }
        }
        self.searched = self.buffer.len();
        if self.buffer.len() > MAX_EVENT { Err("an event that is too long".to_owned()) } else { Ok(()) }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let message = std::mem::take(&mut self.current);
            if !message.data.is_empty() {
                self.ready.push_back(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.current.name),
            "data" => {
                if !self.current.data.is_empty() {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
            }
            // Comments keep the connection alive; ids repeat what our data says.
            _ => {}
        }
    }
}

/// The events of an answer. An `error` event ends the stream as the fault that it carries.
pub(super) fn read(client: &Client, answer: Response) -> ClientStream<Message> {
    let state = (client.clone(), client.bytes(answer), Parser::default(), false);
    stream::unfold(state, |(client, mut bytes, mut parser, done)| async move {
        if done {
            return None;
        }
        let result = loop {
            if let Some(message) = parser.ready.pop_front() {
                break if message.name == "error" { Err(fault(&client, &message.data)) } else { Ok(message) };
            }
            match bytes.next().await {
                Some(Ok(chunk)) => {
                    if let Err(message) = parser.push(&chunk) {
                        break Err(client.protocol(message));
                    }
                }
                Some(Err(error)) => break Err(error),
                None => return None,
            }
        };
        let done = result.is_err();
        Some((result, (client, bytes, parser, done)))
    })
    .boxed()
}

fn fault(client: &Client, data: &str) -> ClientError {
    match serde_json::from_str::<ErrorBody>(data) {
        Ok(body) => ClientError::Refused(body.error),
        Err(_) => client.protocol("an error that cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whatever_the_chunks_are() {
        let text = b": hello\nevent: a\nid: 7\ndata: {\"x\":1}\n\nevent:b\r\ndata:1\r\ndata:2\r\n\r\n\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            for piece in text.chunks(size) {
                parser.push(&Bytes::copy_from_slice(piece)).unwrap();
            }
            let got: Vec<_> = parser.ready.into_iter().map(|m| (m.name, m.data)).collect();
            assert_eq!(got, [("a".into(), "{\"x\":1}".into()), ("b".into(), "1\n2".into())], "size {size}");
        }
    }

    #[test]
    fn endless_events_are_refused() {
        let mut parser = Parser::default();
        let chunk = Bytes::from(vec![b'x'; 8 << 20]);
        let refused = (0..8).any(|_| parser.push(&chunk).is_err());
        assert!(refused);
    }
}
