//! Making the content of blocks.

use std::fs::File;
use std::io;

use rustix::fs::copy_file_range;

use super::extent::Extent;

/// Whether the pieces are a file's content as they lie there.
pub(super) fn is_in_order(pieces: &[Extent]) -> bool {
    let mut expected = 0;
    pieces.iter().all(|piece| {
        let fits = piece.at == expected;
        expected = piece.end();
        fits
    })
}

/// Puts the pieces of a file one behind the other into another one, within the kernel.
pub(super) fn in_order(from: &File, pieces: &[Extent], to: &File) -> io::Result<()> {
    let mut end = 0;
    for piece in pieces {
        let (mut at, mut left) = (piece.at, piece.len);
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 30);
            match copy_file_range(from, Some(&mut at), to, Some(&mut end), step)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                copied => left -= copied as u64,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pieces_come_in_the_order_of_the_list(content in prop::collection::vec(any::<u8>(), 1..300), cuts in prop::collection::vec((0_usize..300, 0_usize..90), 0..8)) {
            let [from, to] = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
            from.write_all_at(&content, 0).unwrap();
            let cut = |(at, len): (usize, usize)| {
                let at = at % content.len();
                at..content.len().min(at + len)
            };
            let cuts: Vec<_> = cuts.into_iter().map(cut).collect();
            let pieces: Vec<_> =
                cuts.iter().map(|cut| Extent { at: cut.start as u64, len: cut.len() as u64 }).collect();
            let expected: Vec<u8> = cuts.into_iter().flat_map(|cut| content[cut].to_vec()).collect();
            in_order(&from, &pieces, &to).unwrap();
            let mut got = vec![0; expected.len()];
            to.read_exact_at(&mut got, 0).unwrap();
            prop_assert_eq!(to.metadata().unwrap().len(), expected.len() as u64);
            prop_assert_eq!(&got, &expected);
            if is_in_order(&pieces) {
                prop_assert_eq!(&content[..expected.len()], &expected);
            }
        }
    }
}
