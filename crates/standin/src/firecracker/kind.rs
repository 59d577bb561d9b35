//! The kinds of guests behind the API.

/// Which guests this stand-in has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Played,
    Emulated,
}
