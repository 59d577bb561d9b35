//! Messages: a netlink header, netfilter's own, and attributes, each a length, a number and a value that may be
//! attributes again.

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
pub(crate) const NFGENMSG: usize = 4;
const NLA_F_NESTED: u16 = 0x8000;

/// A list of attributes, as the kernel reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// An attribute with this value.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.put(kind, |inner| inner.0.extend(value))
    }

    /// A text, ended by a NUL.
    pub(crate) fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        self.put(kind, |inner| inner.0.extend(text.bytes().chain([0])))
    }

    /// A number in the order of the network, as nftables has all of its own.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// As [`Attributes::be32`], of 64 bits.
    pub(crate) fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// An attribute that is a list of attributes. No value of ours is longer than the 64 KiB that there can be.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.put(kind | NLA_F_NESTED, fill)
    }

    /// An attribute that is a list of one attribute with this value.
    pub(crate) fn nest_bytes(&mut self, kind: u16, inner: u16, value: &[u8]) -> &mut Self {
        self.nest(kind, |list| {
            list.bytes(inner, value);
        })
    }

    /// As [`Attributes::nest`], of a list that is there.
    pub(crate) fn nested(&mut self, kind: u16, list: &Self) -> &mut Self {
        self.nest(kind, |inner| inner.0.extend(&list.0))
    }

    /// As [`Attributes::nest`], of a list as it was read.
    pub(crate) fn nest_list(&mut self, kind: u16, list: &[u8]) -> &mut Self {
        self.nest(kind, |inner| inner.0.extend(list))
    }

    fn put(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len();
        self.0.extend([0, 0]);
        self.0.extend(kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// Adds a message to others. `kind` is the subsystem and what it is asked.
pub(crate) fn push(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, resource): (u8, u16),
    attributes: &Attributes,
) {
    let length = u32::try_from(HEADER + NFGENMSG + attributes.0.len()).unwrap_or(u32::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
    out.extend(&attributes.0);
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// After the netlink header.
    pub(crate) payload: &'a [u8],
}

/// The messages of a datagram, up to the first that is not whole.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let message = Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload: rest.get(HEADER..length)?,
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes of a list, by number, up to the first that is not whole.
pub(crate) fn attributes(list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<4>()?;
        let [l0, l1, k0, k1] = *header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & !NLA_F_NESTED, value))
    })
}

/// The value of the first attribute with this number.
pub(crate) fn value(list: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(list).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// As [`value`], of a text.
pub(crate) fn text(list: &[u8], kind: u16) -> Option<&str> {
    std::str::from_utf8(value(list, kind)?.strip_suffix(&[0])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_of_the_value_and_places_are_of_four() {
        let mut attributes = Attributes::default();
        attributes.text(1, "abcd").nest(2, |inner| {
            inner.be32(3, 0x0102_0304).bytes(4, b"");
        });
        let text = [9, 0, 1, 0, b'a', b'b', b'c', b'd', 0, 0, 0, 0];
        let nest = [16, 0, 2, 0x80, 8, 0, 3, 0, 1, 2, 3, 4, 4, 0, 4, 0];
        assert_eq!(attributes.0, [&text[..], &nest].concat());
        let mut out = Vec::new();
        push(&mut out, 0x0a00, 1, 7, (2, 10), &attributes);
        push(&mut out, 0x0a01, 1, 8, (2, 10), &Attributes::default());
        let seen: Vec<_> = messages(&out).map(|m| (m.kind, m.sequence, m.payload.len())).collect();
        assert_eq!(seen, [(0x0a00, 7, 32), (0x0a01, 8, 4)]);
        // Cut anywhere, it is as far as it is whole.
        for length in 0..out.len() {
            assert_eq!(messages(&out[..length]).count(), usize::from(length >= 48));
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut list = Attributes::default();
        list.text(1, "abcd").nest(2, |inner| {
            inner.be32(3, 7);
        });
        let list = &list.0[..];
        assert_eq!((text(list, 1), text(list, 2), value(list, 3)), (Some("abcd"), None, None));
        assert_eq!(value(value(list, 2).unwrap(), 3), Some(&[0, 0, 0, 7][..]));
        for length in 0..list.len() {
            assert_eq!(value(&list[..length], 2), None);
        }
    }
}
