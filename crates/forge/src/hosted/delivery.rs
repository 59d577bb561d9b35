//! A webhook's delivery.

/// Longest body of a delivery that is read, in bytes.
pub use fireactions_http::webhook::MAX_BODY as MAX_DELIVERY;

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
