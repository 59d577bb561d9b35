//! A webhook's delivery.

/// Longest body of a delivery that is read, in bytes. What tells of one job is about 20 KiB.
pub const MAX_DELIVERY: usize = 1 << 20;

/// A delivery as it came: nothing of it is trusted yet.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// The value of a header by its name in lower case, where it has one that is text.
    pub header: &'a (dyn Fn(&str) -> Option<&'a str> + Send + Sync),
    /// The body as it was sent.
    pub body: &'a [u8],
}

impl<'a> Delivery<'a> {
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        (self.header)(name)
    }
}

/// Nobody who knows a secret sent this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forged {
    /// There is no signature.
    Unsigned,
    /// It is none, or made with another secret or for another body.
    Wrong,
}
