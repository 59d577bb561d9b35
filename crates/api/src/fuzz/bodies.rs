//! Any bytes as each of the bodies and messages: what is accepted is within its bounds and means the same when it is
//! written again.

use std::fmt::Debug;

use bytes::Bytes;
use fireactions_model::{JobSpec, Program};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::presentable;
use crate::channel::{self, MAX_DATA, MAX_MESSAGE};
use crate::client::sse::Parser;
use crate::server::spec;
use crate::{
    CacheGcRequest, ErrorBody, ExecEvent, ExecInput, ExecRequest, GcRequest, HoldRequest, LogChunk, LogEnd,
    PullRequest, ScaleRequest,
};

/// The first byte says what the rest is.
pub fn api(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    match kind % 8 {
        0 => job(body),
        1 => exec(body),
        2 => {
            again::<ScaleRequest>(body);
            again::<HoldRequest>(body);
            again::<PullRequest>(body);
            again::<GcRequest>(body);
            again::<CacheGcRequest>(body);
        }
        3 => input(body),
        4 => event(body),
        5 | 6 => events(body),
        _ => {
            again::<ErrorBody>(body);
            again::<LogChunk>(body);
            again::<LogEnd>(body);
        }
    }
}

/// Reads, and reads what is written of it.
fn again<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(body).ok()?;
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written can be read"), value);
    Some(value)
}

fn job(body: &[u8]) {
    let Some(spec) = again::<JobSpec>(body) else { return };
    if let Err(fault) = spec::check(&spec) {
        return presentable(&fault);
    }
    assert!(spec.files.len() <= 4096 && spec.artifacts.len() <= 64 && spec.env.len() <= 1000);
    for path in spec.files.iter().map(|file| &file.dest).chain(&spec.artifacts) {
        assert!(path.starts_with('/') && path.len() < 4096, "{path:?}");
        assert!(!path.contains('\0') && !path.split('/').any(|part| part == ".."), "{path:?}");
    }
    let texts = spec.env.iter().flat_map(|(key, value)| [key, value]).chain(&spec.user).chain(&spec.workdir);
    let program = match &spec.program {
        Program::Image { args } => args.clone(),
        Program::Command { argv } => {
            assert!(!argv[0].is_empty());
            argv.clone()
        }
        Program::Script { text } => vec![text.clone()],
    };
    assert!(texts.chain(&program).all(|text| !text.contains('\0')), "a NUL reaches the guest");
    assert!(spec.timeout_secs != Some(0) && spec.vcpus != Some(0));
}

fn exec(body: &[u8]) {
    let Some(request) = again::<ExecRequest>(body) else { return };
    match channel::check_request(&request) {
        Ok(()) => {
            let ExecRequest { argv, env, user, .. } = &request;
            let texts = env.iter().flat_map(|(key, value)| [key, value]).chain(user).chain(argv);
            assert!(texts.into_iter().all(|text| !text.contains('\0')));
            assert!(env.iter().all(|(key, _)| !key.is_empty() && !key.contains('=')));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

fn input(body: &[u8]) {
    let message = Bytes::copy_from_slice(body);
    let Ok(input) = channel::parse_input(message.clone()) else { return };
    if let ExecInput::Stdin(data) = &input {
        assert!(!data.is_empty() && data.len() < body.len());
    }
    let pieces = channel::input(&input);
    assert!(pieces.iter().all(|piece| piece.len() <= MAX_MESSAGE));
    if pieces.len() == 1 {
        assert_eq!(pieces[0], message);
    }
}

fn event(body: &[u8]) {
    match channel::parse_event(Bytes::copy_from_slice(body)) {
        Ok(ExecEvent::Output(stream, data)) => {
            let pieces: Vec<_> = channel::output(stream, &data).collect();
            assert!(pieces.iter().all(|piece| piece.len() <= MAX_DATA + 1));
            assert_eq!(pieces.iter().map(|piece| piece.len() - 1).sum::<usize>(), data.len());
        }
        Ok(ExecEvent::Exit(exit)) => {
            let message = channel::exit(&exit);
            assert!(message.len() <= MAX_MESSAGE);
            assert!(matches!(channel::parse_event(message), Ok(ExecEvent::Exit(_))));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Server-sent events, in pieces of the size that the first byte says.
fn events(body: &[u8]) {
    let Some((step, body)) = body.split_first() else { return };
    let parse = |step: usize| {
        let mut parser = Parser::default();
        let result = body.chunks(step).try_for_each(|piece| parser.push(&Bytes::copy_from_slice(piece)));
        (result, parser.ready)
    };
    let whole = parse(body.len().max(1));
    assert_eq!(parse(usize::from(*step).max(1)), whole);
    for message in &whole.1 {
        assert!(!message.data.is_empty() && message.data.len() <= body.len());
        assert!(!message.name.contains('\n'));
    }
}
