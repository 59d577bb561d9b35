//! The decoder takes anything, finds every whole frame between the damage, and holds a bounded number of bytes.

use fireactions_guest_proto::{Decoder, Frame, Kind};
use proptest::prelude::*;

const LIMIT: usize = 600;

fn frames(decoder: &mut Decoder, input: &[u8], step: usize) -> (Vec<Frame>, usize) {
    let (mut good, mut bad) = (Vec::new(), 0);
    for piece in input.chunks(step) {
        let mut rest = piece;
        while let Some(frame) = decoder.next(&mut rest) {
            match frame {
                Ok(frame) => good.push(frame),
                Err(_) => bad += 1,
            }
        }
        assert!(rest.is_empty());
        assert!(decoder.held() <= LIMIT + LIMIT / 100 + 64);
    }
    (good, bad)
}

fn frame() -> impl Strategy<Value = Frame> {
    let kind = prop_oneof![Just(Kind::Control), Just(Kind::Data), Just(Kind::Job), Just(Kind::Credit)];
    let body = proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..LIMIT);
    (kind, 0..3u8, any::<u32>(), any::<u64>(), body).prop_map(|(kind, channel, stream, nonce, body)| Frame {
        kind,
        channel,
        stream,
        nonce,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whole_frames_come_back(sent in proptest::collection::vec(frame(), 0..8), step in 1usize..1000) {
        let wire: Vec<u8> = sent.iter().flat_map(Frame::encode).collect();
        let (got, bad) = frames(&mut Decoder::new(LIMIT), &wire, step);
        prop_assert_eq!(got, sent);
        prop_assert_eq!(bad, 0);
    }

    #[test]
    fn anything_is_survived(input in proptest::collection::vec(prop_oneof![3 => Just(0u8), 7 => any::<u8>()], 0..5_000),
                            step in 1usize..1000) {
        let mut decoder = Decoder::new(LIMIT);
        frames(&mut decoder, &input, step);
        // And whatever came, the next frame after an end is found.
        let next = Frame { kind: Kind::Data, channel: 1, stream: 1, nonce: 1, body: vec![0; 100] };
        let wire = [vec![0], next.encode()].concat();
        let (got, _) = frames(&mut decoder, &wire, step);
        prop_assert_eq!(got.last(), Some(&next));
    }

    /// A connection cut anywhere in one frame, then a new session: nothing of the cut frame is believed.
    #[test]
    fn a_cut_frame_is_never_a_frame(cut in frame(), next in frame(), at in any::<prop::sample::Index>(), step in 1usize..1000) {
        let whole = cut.encode();
        let at = at.index(whole.len() - 1);
        let wire = [&whole[..at], &[0], &next.encode()[..]].concat();
        let (got, _) = frames(&mut Decoder::new(LIMIT), &wire, step);
        if at == whole.len() - 1 {
            prop_assert_eq!(got, vec![cut, next]);
        } else {
            prop_assert_eq!(got, vec![next]);
        }
    }

    #[test]
    fn a_frame_that_never_ends_costs_a_bounded_number_of_bytes(byte in 1u8..=255, step in 1usize..50_000) {
        let mut decoder = Decoder::new(LIMIT);
        let (good, bad) = frames(&mut decoder, &vec![byte; 100_000], step);
        prop_assert_eq!((good.len(), bad), (0, 1));
    }
}
