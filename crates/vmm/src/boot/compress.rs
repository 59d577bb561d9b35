//! Decompression of kernels and modules, recognised by their first bytes.

use std::io::{self, Read};

/// Decompresses `data` when it is gzip, xz, zstd or legacy lz4 (the format of kernel images); anything else
/// comes back as it is. What follows the first stream is ignored: kernels append their size. More than
/// `limit` bytes of output is an error.
pub(crate) fn decompress(data: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    match data {
        [0x1f, 0x8b, ..] => read(flate2::read::GzDecoder::new(data), limit),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => read(lzma_rust2::XzReader::new(data, false), limit),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => read(zstd::Decoder::with_buffer(data)?.single_frame(), limit),
        [0x02, 0x21, 0x4c, 0x18, rest @ ..] => lz4_legacy(rest, limit),
        _ => Ok(data.to_vec()),
    }
}

fn too_large(limit: usize) -> io::Error {
    io::Error::other(format!("it decompresses to more than {limit} bytes"))
}

fn read(source: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut out)?;
    if out.len() > limit { Err(too_large(limit)) } else { Ok(out) }
}

/// Blocks of 8 MiB, each after its compressed size (little-endian, 4 bytes); a short block is the last.
fn lz4_legacy(mut data: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    const BLOCK: usize = 8 << 20;
    let mut out = Vec::new();
    let mut block = vec![0; BLOCK];
    while let Some((size, rest)) = data.split_first_chunk::<4>() {
        let size = u32::from_le_bytes(*size) as usize;
        let Some(packed) = rest.get(..size).filter(|packed| !packed.is_empty()) else { break };
        let length = lz4_flex::block::decompress_into(packed, &mut block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        out.extend_from_slice(&block[..length]);
        if out.len() > limit {
            return Err(too_large(limit));
        }
        if length < BLOCK {
            break;
        }
        data = &rest[size..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn pack(program: &str, args: &[&str], data: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let data = data.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&data).unwrap());
        let out = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        out
    }

    #[test]
    fn every_format_is_undone_and_bounded() {
        let data: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for (program, args) in
            [("gzip", vec!["-c"]), ("xz", vec!["-c", "--check=crc32"]), ("zstd", vec!["-c", "-q"])]
        {
            let mut packed = pack(program, &args, &data);
            assert!(packed.len() < data.len());
            packed.extend_from_slice(&[1, 2, 3, 4]); // the size that kernel images append
            assert_eq!(decompress(&packed, data.len()).unwrap(), data, "{program}");
            let error = decompress(&packed, data.len() - 1).unwrap_err().to_string();
            assert!(error.contains("more than"), "{program}: {error}");
        }
        assert_eq!(decompress(&data, 1).unwrap(), data, "plain data is not limited: it is in memory already");
    }

    #[test]
    fn legacy_lz4_of_more_than_one_block() {
        let data = vec![7_u8; (8 << 20) + 5];
        let mut packed = vec![0x02, 0x21, 0x4c, 0x18];
        for block in data.chunks(8 << 20) {
            let out = lz4_flex::block::compress(block);
            packed.extend_from_slice(&u32::try_from(out.len()).unwrap().to_le_bytes());
            packed.extend_from_slice(&out);
        }
        packed.extend_from_slice(&0x0080_0005_u32.to_le_bytes());
        assert_eq!(decompress(&packed, 1 << 30).unwrap(), data);
        assert!(decompress(&packed, 8 << 20).is_err());
    }
}
