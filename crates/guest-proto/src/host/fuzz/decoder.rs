//! Any bytes, in any pieces: the decoder never panics, holds a bounded number of bytes, gives the same frames
//! whatever the pieces, and finds the next whole frame after any damage.

use crate::{Decoder, Frame, FrameError, GuestMsg, HostMsg, Kind};

const LIMIT: usize = 1024;

fn decode(decoder: &mut Decoder, input: &[u8], step: usize) -> Vec<Result<Frame, FrameError>> {
    let mut frames = Vec::new();
    for mut piece in input.chunks(step.max(1)) {
        while let Some(frame) = decoder.next(&mut piece) {
            frames.push(frame);
        }
        assert!(decoder.held() <= LIMIT + LIMIT / 100 + 64);
    }
    frames
}

/// The first byte is the size of the pieces, the rest the wire.
pub fn decoder(data: &[u8]) {
    let Some((step, input)) = data.split_first() else { return };
    let mut decoder = Decoder::new(LIMIT);
    let pieces: Vec<_> = decode(&mut decoder, input, usize::from(*step)).into_iter().flatten().collect();
    let whole: Vec<_> = decode(&mut Decoder::new(LIMIT), input, usize::MAX).into_iter().flatten().collect();
    assert_eq!(pieces, whole);
    for frame in &whole {
        assert!(frame.body.len() <= LIMIT);
        let again = decode(&mut Decoder::new(LIMIT), &frame.encode(), usize::MAX);
        assert_eq!(again, [Ok(frame.clone())]);
        let _ = serde_json::from_slice::<GuestMsg>(&frame.body);
        let _ = serde_json::from_slice::<HostMsg>(&frame.body);
    }
    let next = Frame { kind: Kind::Data, channel: 1, stream: 7, nonce: 9, body: vec![0; 300] };
    let wire = [vec![0], next.encode()].concat();
    assert_eq!(decode(&mut decoder, &wire, usize::MAX).pop(), Some(Ok(next)));
}
