//! A length of time as serde writes it, for the OpenAPI document.

/// A length of time: the sum of both.
#[derive(Debug, utoipa::ToSchema)]
pub struct SecsNanos {
    /// Whole seconds.
    pub secs: u64,
    /// The rest, in nanoseconds.
    #[schema(maximum = 999_999_999)]
    pub nanos: u32,
}
