//! The binary messages of an `exec` WebSocket: one channel byte, then data. Both ends use this file.

use bytes::{BufMut, Bytes, BytesMut};
use fireactions_model::Stream;

use crate::fault::line;
use crate::{ExecEvent, ExecExit, ExecInput, ExecRequest, WindowSize};

/// WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "fireactions.exec.v1";
/// Largest message, either way.
pub const MAX_MESSAGE: usize = 64 * 1024 + 1;
/// Largest data of one message.
pub const MAX_DATA: usize = MAX_MESSAGE - 1;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESIZE: u8 = 3;
const EXIT: u8 = 4;

fn frame(channel: u8, data: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(1 + data.len());
    message.put_u8(channel);
    message.put_slice(data);
    message.freeze()
}

/// Output as messages.
pub(crate) fn output(stream: Stream, data: &Bytes) -> impl Iterator<Item = Bytes> {
    let channel = match stream {
        Stream::Stdout => STDOUT,
        Stream::Stderr => STDERR,
    };
    data.chunks(MAX_DATA).map(move |piece| frame(channel, piece))
}

/// The last message. Words for people are cut to what fits.
pub(crate) fn exit(exit: &ExecExit) -> Bytes {
    let json = match exit {
        ExecExit::Failed(why) => serde_json::to_vec(&ExecExit::Failed(line(why))),
        exit => serde_json::to_vec(exit),
    };
    frame(EXIT, &json.unwrap_or_default())
}

/// Input as messages.
pub(crate) fn input(input: &ExecInput) -> Vec<Bytes> {
    match input {
        ExecInput::Stdin(data) => data.chunks(MAX_DATA).map(|piece| frame(STDIN, piece)).collect(),
        ExecInput::Eof => vec![frame(STDIN, &[])],
        ExecInput::Resize(size) => {
            let [a, b] = size.rows.to_be_bytes();
            let [c, d] = size.cols.to_be_bytes();
            vec![frame(RESIZE, &[a, b, c, d])]
        }
    }
}

/// Reads what a client sent. The error is for people.
pub(crate) fn parse_input(mut message: Bytes) -> Result<ExecInput, String> {
    if message.is_empty() {
        return Err("an empty message".to_owned());
    }
    let data = message.split_off(1);
    match (message[0], data.as_ref()) {
        (STDIN, []) => Ok(ExecInput::Eof),
        (STDIN, _) => Ok(ExecInput::Stdin(data)),
        (RESIZE, &[a, b, c, d]) => Ok(ExecInput::Resize(WindowSize {
            rows: u16::from_be_bytes([a, b]),
            cols: u16::from_be_bytes([c, d]),
        })),
        (RESIZE, _) => Err("a terminal size is four bytes".to_owned()),
        (channel, _) => Err(format!("there is no input channel {channel}")),
    }
}

/// Reads what a server sent. The error is for people.
pub(crate) fn parse_event(mut message: Bytes) -> Result<ExecEvent, String> {
    if message.is_empty() {
        return Err("an empty message".to_owned());
    }
    let data = message.split_off(1);
    match message[0] {
        STDOUT => Ok(ExecEvent::Output(Stream::Stdout, data)),
        STDERR => Ok(ExecEvent::Output(Stream::Stderr, data)),
        EXIT => serde_json::from_slice(&data).map(ExecEvent::Exit).map_err(|error| error.to_string()),
        channel => Err(format!("there is no output channel {channel}")),
    }
}

/// Bounds of a request. The error is for people.
pub(crate) fn check_request(request: &ExecRequest) -> Result<(), String> {
    let texts = request.argv.iter().chain(request.env.iter().flat_map(|(key, value)| [key, value]));
    if texts.chain(request.user.iter()).any(|text| text.contains('\0')) {
        return Err("arguments and environment cannot hold a NUL byte".to_owned());
    }
    if request.argv.first().is_some_and(String::is_empty) {
        return Err("the program's name is empty".to_owned());
    }
    if let Some((key, _)) = request.env.iter().find(|(key, _)| key.is_empty() || key.contains('=')) {
        return Err(format!("'{key}' is not a valid variable name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_survives_the_wire() {
        let long = Bytes::from(vec![7; MAX_DATA + 1]);
        for sent in [
            ExecInput::Stdin(Bytes::from_static(b"x")),
            ExecInput::Eof,
            ExecInput::Resize(WindowSize { rows: 24, cols: 300 }),
        ] {
            let messages = input(&sent);
            assert_eq!(messages.len(), 1);
            assert_eq!(parse_input(messages[0].clone()), Ok(sent));
        }
        let pieces = input(&ExecInput::Stdin(long));
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [MAX_MESSAGE, 2]);
    }

    #[test]
    fn events_survive_the_wire() {
        let out = output(Stream::Stderr, &Bytes::from_static(b"oh")).next().unwrap();
        assert_eq!(parse_event(out), Ok(ExecEvent::Output(Stream::Stderr, Bytes::from_static(b"oh"))));
        for end in [ExecExit::Code(3), ExecExit::Signal(9), ExecExit::Failed("no".into())] {
            assert_eq!(parse_event(exit(&end)), Ok(ExecEvent::Exit(end)));
        }
    }

    #[test]
    fn a_long_story_is_still_an_exit() {
        let message = exit(&ExecExit::Failed("\u{1}'".repeat(MAX_MESSAGE)));
        assert!(message.len() <= MAX_MESSAGE);
        assert!(matches!(parse_event(message), Ok(ExecEvent::Exit(ExecExit::Failed(_)))));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [&[][..], &[1, 2], &[3, 1], &[4], &[255]] {
            assert!(parse_input(Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
        for bad in [&[][..], &[0], &[4, b'{'], &[9]] {
            assert!(parse_event(Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
    }
}
