//! Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999): bytes without zeros, so that a zero can end a frame.
//! It makes a cut stream find its place again by itself: whatever was under way when a connection broke ends at the
//! next zero, and no payload can look like the end or the start of a frame.

/// Most bytes that `len` bytes become, without the final zero.
pub(crate) const fn max_encoded(len: usize) -> usize {
    len + len / 254 + 1
}

/// Appends `data`, stuffed, to `out`. The caller adds the zero.
pub(crate) fn encode(parts: &[&[u8]], out: &mut Vec<u8>) {
    // And the caller's zero.
    out.reserve(max_encoded(parts.iter().map(|part| part.len()).sum()) + 1);
    let mut code_at = out.len();
    out.push(0);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let used = out.len() - code_at; // 1 + bytes in the open block
            let room = 255 - used;
            let take = rest.len().min(room);
            let zero = rest[..take].iter().position(|byte| *byte == 0);
            let plain = zero.unwrap_or(take);
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            if zero.is_some() {
                rest = &rest[1..];
                code_at = close(code_at, out);
            } else if out.len() - code_at == 255 {
                code_at = close(code_at, out);
            }
        }
    }
    let code = out.len() - code_at;
    out[code_at] = u8::try_from(code).unwrap_or(u8::MAX);
}

fn close(code_at: usize, out: &mut Vec<u8>) -> usize {
    // An open block is never longer than 255, so this never saturates.
    out[code_at] = u8::try_from(out.len() - code_at).unwrap_or(u8::MAX);
    out.push(0);
    out.len() - 1
}

/// Undoes [`encode`] for one frame without its final zero. `None` when it cannot have come from `encode`.
pub(crate) fn decode(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    while let Some((&code, rest)) = data.split_first() {
        let plain = usize::from(code).checked_sub(1)?;
        out.extend_from_slice(rest.get(..plain)?);
        data = &rest[plain..];
        if code != 255 && !data.is_empty() {
            out.push(0);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(data in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..2000), cut in 0usize..2000) {
            let cut = cut.min(data.len());
            let mut out = Vec::new();
            encode(&[&data[..cut], &data[cut..]], &mut out);
            prop_assert!(!out.contains(&0));
            prop_assert!(out.len() <= max_encoded(data.len()));
            prop_assert_eq!(decode(&out), Some(data));
        }

        #[test]
        fn any_bytes_are_judged(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
            if let Some(out) = decode(&data) {
                prop_assert!(out.len() <= data.len());
            }
        }
    }

    #[test]
    fn blocks_at_their_limits() {
        for len in [0, 1, 253, 254, 255, 508, 509, 65_536] {
            for byte in [0u8, 7] {
                let data = vec![byte; len];
                let mut out = Vec::new();
                encode(&[&data], &mut out);
                assert!(out.len() <= max_encoded(len), "{len} bytes of {byte} became {}", out.len());
                assert_eq!(decode(&out).as_deref(), Some(&data[..]), "{len} bytes of {byte}");
            }
        }
    }
}
