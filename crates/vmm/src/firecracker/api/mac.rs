//! Hardware addresses as the API writes them, `06:00:ac:10:00:02`.

use std::fmt;

use serde::{Serialize, Serializer};

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_api_reads_them() {
        assert_eq!(Mac([0x06, 0, 0xac, 0x10, 0, 0xfe]).to_string(), "06:00:ac:10:00:fe");
    }
}
