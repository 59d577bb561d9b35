//! A rule: expressions that load, mask and compare, one after the other, and say what happens to the packet.

use super::ip::Ip;
use super::set::Set;
use super::uapi::{Family, NFTA_DATA_VALUE, Verdict};
use crate::netfilter::Attributes;

/// The register that everything is loaded to, and the second word of it for keys of two parts.
const REG_1: u32 = 1;
const REG32_01: u32 = 9;
/// Where a verdict goes.
const REG_VERDICT: u32 = 0;

// linux/netfilter/nf_tables.h, net/tcp.h
const NFT_RT_TCPMSS: u32 = 3;
const NFT_BYTEORDER_HTON: u32 = 1;
const NFT_EXTHDR_OP_TCPOPT: u32 = 1;
const TCPOPT_MAXSEG: u8 = 2;

/// A part of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// An expression of this name and what belongs to it.
    Expression(&'static str, Attributes),
    /// Whether what was loaded is in a set that belongs to this rule.
    Among(Set),
    /// Whether it is not.
    NotAmong(Set),
}

/// One rule, being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(super) family: Family,
    pub(super) parts: Vec<Part>,
    /// The packet's version of IP, where that is known.
    pub(super) ip: Option<Ip>,
}

/// Where a packet's headers begin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

impl Rule {
    /// One for a chain of this family that all packets match.
    pub(crate) fn of(family: Family) -> Self {
        Self { family, parts: Vec::new(), ip: None }
    }

    pub(crate) fn accept(self) -> Self {
        self.verdict(&Verdict::Accept)
    }

    pub(crate) fn drop(self) -> Self {
        self.verdict(&Verdict::Drop)
    }

    pub(crate) fn jump(self, chain: &str) -> Self {
        self.verdict(&Verdict::Jump(chain))
    }

    pub(crate) fn goto(self, chain: &str) -> Self {
        self.verdict(&Verdict::Goto(chain))
    }

    fn verdict(self, verdict: &Verdict<'_>) -> Self {
        self.with("immediate", |data| {
            data.be32(1, REG_VERDICT).nest(2, |data| verdict.write(data));
        })
    }

    /// With the sender's address replaced by the host's.
    pub(crate) fn masquerade(self) -> Self {
        self.with("masq", |_| {})
    }

    /// With the largest segment that it allows made no larger than the route's MTU carries. The kernel never makes it larger.
    pub(crate) fn clamp_segments(self) -> Self {
        let route = self.with("rt", |data| {
            data.be32(1, REG_1).be32(2, NFT_RT_TCPMSS);
        });
        // Known in the host's byte order, written in the network's.
        let ordered = route.with("byteorder", |data| {
            data.be32(1, REG_1).be32(2, REG_1).be32(3, NFT_BYTEORDER_HTON).be32(4, 2).be32(5, 2);
        });
        ordered.with("exthdr", |data| {
            // Written, not read: the option's two bytes behind its kind and length.
            data.bytes(2, &[TCPOPT_MAXSEG]).be32(3, 2).be32(4, 2);
            data.be32(6, NFT_EXTHDR_OP_TCPOPT).be32(7, REG_1);
        })
    }

    pub(super) fn with(mut self, name: &'static str, fill: impl FnOnce(&mut Attributes)) -> Self {
        let mut data = Attributes::default();
        fill(&mut data);
        self.parts.push(Part::Expression(name, data));
        self
    }

    pub(super) fn with_part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// Loads what the kernel knows of the packet.
    pub(super) fn meta(self, key: u32) -> Self {
        self.with("meta", |data| {
            data.be32(2, key).be32(1, REG_1);
        })
    }

    /// Loads bytes of the packet.
    pub(super) fn payload(self, base: Base, offset: u32, length: u32) -> Self {
        self.payload_to(REG_1, base, offset, length)
    }

    /// Loads bytes of the packet behind the first four that are loaded already.
    pub(super) fn payload_beside(self, base: Base, offset: u32, length: u32) -> Self {
        self.payload_to(REG32_01, base, offset, length)
    }

    fn payload_to(self, register: u32, base: Base, offset: u32, length: u32) -> Self {
        self.with("payload", |data| {
            data.be32(1, register).be32(2, base as u32).be32(3, offset).be32(4, length);
        })
    }

    /// Keeps some bits of what was loaded.
    pub(super) fn mask(self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
        self.with("bitwise", |data| {
            data.be32(1, REG_1).be32(2, REG_1).be32(3, length);
            data.nest_bytes(4, NFTA_DATA_VALUE, mask);
            data.nest_bytes(5, NFTA_DATA_VALUE, &vec![0; mask.len()]);
        })
    }

    /// Goes on if what was loaded is, or is not, this.
    pub(super) fn compare(self, equal: bool, value: &[u8]) -> Self {
        self.with("cmp", |data| {
            data.be32(1, REG_1).be32(2, u32::from(!equal));
            data.nest_bytes(3, NFTA_DATA_VALUE, value);
        })
    }

    /// Goes where a map leads from what was loaded, and on if it does not lead anywhere.
    pub(super) fn look_up(self, map: &str) -> Self {
        self.with("lookup", |data| {
            data.be32(2, REG_1).be32(3, REG_VERDICT).text(1, map);
        })
    }
}

/// The look into a set of the rule's own.
pub(super) fn lookup(set: &str, id: u32, inverted: bool) -> Attributes {
    let mut data = Attributes::default();
    data.be32(2, REG_1).text(1, set).be32(4, id);
    if inverted {
        data.be32(5, 1);
    }
    data
}
