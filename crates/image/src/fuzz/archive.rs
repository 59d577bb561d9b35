//! Archives from instructions: plain bytes would never get past a header's checksum.

use std::io::Write;

use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Parts that paths are made of.
const PARTS: &[&str] = &[
    "a",
    "b",
    "c",
    "dir",
    "link",
    "..",
    ".",
    "",
    "/",
    ".wh.a",
    ".wh.b",
    ".wh.dir",
    ".wh.link",
    ".wh..wh..opq",
    ".wh..wh.plnk",
    ".wh.",
    "etc",
    "passwd",
    "é\u{1b}[2J",
    "n",
];

pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn path(&mut self) -> Vec<u8> {
        let count = self.byte();
        match count {
            255 => return "d/".repeat(usize::from(self.byte()) * 16).into_bytes(),
            254 => return vec![b'n'; usize::from(self.byte()) * 2],
            253 => return self.bytes(8).to_vec(),
            _ => {}
        }
        let parts = (0..=count % 6).map(|_| PARTS[usize::from(self.byte()) % PARTS.len()]);
        parts.collect::<Vec<_>>().join("/").into_bytes()
    }

    /// A size as archives lie about it.
    fn size(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX,
            254 => 1 << 62,
            253 => (1 << 33) - 1,
            252 => 1 << 20,
            size => u64::from(size),
        }
    }

    fn extension(&mut self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        for _ in 0..self.byte() % 4 {
            let (key, value): (String, Vec<u8>) = match self.byte() % 12 {
                0 => ("path".into(), self.path()),
                1 => ("linkpath".into(), self.path()),
                2 => ("size".into(), self.size().to_string().into()),
                3 => ("uid".into(), self.size().to_string().into()),
                4 => ("mtime".into(), format!("-{}.5", self.byte()).into()),
                5 => ("GNU.sparse.major".into(), b"1".to_vec()),
                6 => ("SCHILY.xattr.user.a".into(), vec![self.byte(); usize::from(self.byte()) * 300]),
                7 => (format!("SCHILY.xattr.user.{}", self.byte()), b"v".to_vec()),
                8 => ("SCHILY.xattr.trusted.overlay.opaque".into(), b"y".to_vec()),
                9 => ("SCHILY.xattr.security.capability".into(), self.bytes(20).to_vec()),
                10 => ("comment".into(), self.bytes(5).to_vec()),
                _ => {
                    let count = usize::from(self.byte() % 32);
                    records.extend_from_slice(self.bytes(count));
                    continue;
                }
            };
            crate::tarwrite::pax_record(&mut records, key.as_bytes(), &value);
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        block(out, &mut header, &records, records.len() as u64);
    }

    fn entry(&mut self, out: &mut Vec<u8>) {
        const KINDS: [u8; 16] = *b"0055551122346LSz";
        for _ in 0..self.byte().saturating_sub(200) {
            self.extension(out);
        }
        let mut header = Header::new_ustar();
        let kind = KINDS[usize::from(self.byte()) % KINDS.len()];
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(u32::from(self.byte()) * 17);
        header.set_uid(u64::from(self.byte()));
        header.set_gid(0);
        header.set_mtime(1);
        let (path, link) = (self.path(), if matches!(kind, b'1' | b'2') { self.path() } else { Vec::new() });
        let fields = header.as_old_mut();
        let count = path.len().min(100);
        fields.name[..count].copy_from_slice(&path[..count]);
        let count = link.len().min(100);
        fields.linkname[..count].copy_from_slice(&link[..count]);
        if matches!(kind, b'3' | b'4') {
            header.set_device_major(u32::from(self.byte()) * 64).unwrap();
            header.set_device_minor(u32::from(self.byte())).unwrap();
        }
        let data =
            if matches!(kind, b'0' | b'L') { path.repeat(usize::from(self.byte() % 4)) } else { Vec::new() };
        let claimed = if self.byte() == 255 { self.size() } else { data.len() as u64 };
        block(out, &mut header, &data, claimed);
    }

    /// One layer, packed.
    pub(super) fn layer(&mut self) -> Vec<u8> {
        let (count, packing) = (self.byte() % 32, self.byte());
        let mut tar = Vec::new();
        for _ in 0..count {
            self.entry(&mut tar);
        }
        tar.resize(tar.len() + 2 * BLOCK, 0);
        match packing {
            0..=149 | 200..=249 => tar,
            // zstd is another process's affair.
            150..=199 => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&tar).unwrap();
                encoder.finish().unwrap()
            }
            cut => {
                tar.truncate(tar.len() - usize::from(cut - 249) * 300 % tar.len());
                tar
            }
        }
    }
}

fn block(out: &mut Vec<u8>, header: &mut Header, data: &[u8], claimed: u64) {
    header.set_size(claimed);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// Sets the checksum of every header that a reader would look at.
pub(super) fn repair(mut tar: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Some(raw) = tar.get_mut(at..at + BLOCK) {
        if raw.iter().all(|byte| *byte == 0) {
            break;
        }
        let mut header = Header::from_byte_slice(raw).clone();
        header.set_cksum();
        raw.copy_from_slice(header.as_bytes());
        let size = header.entry_size().ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let content = size.checked_next_multiple_of(BLOCK);
        let Some(next) = content.and_then(|size| size.checked_add(at + BLOCK)) else { break };
        at = next;
    }
    tar
}
