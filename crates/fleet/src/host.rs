//! A host's name and address, as new ones must be. (What is in a registry already is read as it is.)

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host's name: what the registry, the flake's node and the machine itself are called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// Why a name cannot be a host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// The rules of host names.
    #[error(
        "a host's name has lower-case letters, digits and hyphens, begins and ends with a letter or digit, and is at most 63 long"
    )]
    Form,
    /// What Colmena uses for something else.
    #[error("'meta', 'defaults' and 'network' are no hosts in a Colmena hive: choose another name")]
    Taken,
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        if !is_label(text) || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(HostNameError::Form);
        }
        if ["meta", "defaults", "network"].contains(&text) {
            return Err(HostNameError::Taken);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Where a host is reached: an IP address or a name that DNS knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// Why a text cannot be a host's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither an IP address nor a name.
    #[error("it is neither an IP address nor a host name")]
    Form,
    /// `0.0.0.0`, multicast, broadcast.
    #[error("no single host has this address")]
    NoHost,
    /// `root@203.0.113.5`.
    #[error("the address stands alone here; the user is given with --user")]
    User,
}

impl Address {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a host is called for short: the last number of an IPv4 address, the first label of a name.
    pub fn short(&self) -> Option<&str> {
        match self.0.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => self.0.rsplit('.').next(),
            Ok(IpAddr::V6(_)) => None,
            Err(_) => self.0.split('.').next(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains('@') {
            return Err(AddressError::User);
        }
        match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip) => {
                Err(AddressError::NoHost)
            }
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) if is_dns_name(text) => Ok(Self(text.to_owned())),
            Err(_) => Err(AddressError::Form),
        }
    }
}

/// A user's name, as logins have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user's name has letters, digits, '_', '-' and '.', and begins with a letter or '_'")]
pub struct UserNameError;

/// Takes a user's name.
///
/// # Errors
/// When nobody is called so.
pub fn user_name(text: &str) -> Result<String, UserNameError> {
    let good = (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if good { Ok(text.to_owned()) } else { Err(UserNameError) }
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

/// A name whose last label is a number is a mistyped address.
fn is_dns_name(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "do-runner-1", "1", &"x".repeat(63)] {
            assert_eq!(HostName::from_str(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in
            ["", "-a", "a-", "A", "a_b", "a.b", "a b", "a/b", "../x", "ä", "a\n", "$(id)", &"x".repeat(64)]
        {
            assert_eq!(HostName::from_str(bad), Err(HostNameError::Form), "{bad:?}");
        }
        assert_eq!(HostName::from_str("meta"), Err(HostNameError::Taken));
    }

    #[test]
    fn users() {
        assert_eq!(["root", "nixos", "_ops.2-x"].map(|name| user_name(name).is_ok()), [true; 3]);
        assert_eq!(["", "-l", "a b", "a@b", "$(id)", "1a"].map(user_name), [const { Err(UserNameError) }; 6]);
    }

    #[test]
    fn addresses() {
        for (good, short) in [
            ("203.0.113.50", Some("50")),
            ("2001:db8::7", None),
            ("ci.example.org", Some("ci")),
            ("nixtower", Some("nixtower")),
        ] {
            assert_eq!(Address::from_str(good).unwrap().short(), short);
        }
        for (bad, error) in [
            ("", AddressError::Form),
            ("203.0.113", AddressError::Form),
            ("203.0.113.256", AddressError::Form),
            ("203.0.113.5.6", AddressError::Form),
            ("-oProxyCommand=x", AddressError::Form),
            ("a b", AddressError::Form),
            ("a..b", AddressError::Form),
            ("203.0.113.5:22", AddressError::Form),
            ("0.0.0.0", AddressError::NoHost),
            ("::", AddressError::NoHost),
            ("255.255.255.255", AddressError::NoHost),
            ("224.0.0.1", AddressError::NoHost),
            ("root@203.0.113.5", AddressError::User),
        ] {
            assert_eq!(Address::from_str(bad), Err(error), "{bad:?}");
        }
    }
}
