//! Which version of Firecracker has what.

use std::fmt;
use std::str::FromStr;

use super::ApiError;

/// A version of Firecracker. A build between two releases (`1.17.0-dev`) counts as the release it leads to: it may
/// still lack something of it, which Firecracker then says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Always 1 so far.
    pub major: u16,
    /// Counts the releases with new features.
    pub minor: u16,
    /// Counts the fixes.
    pub patch: u16,
}

/// Text that names no version of Firecracker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version of Firecracker; an example is 1.16.1")]
pub struct VersionError(String);

impl Version {
    /// The first that knows all that is no [`Feature`]; the last of it were CPU templates with KVM capabilities and the
    /// log levels `Off` and `Trace`.
    pub const OLDEST: Self = Self::new(1, 5, 0);

    /// `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Whether this version has it.
    pub fn has(self, feature: Feature) -> bool {
        self >= feature.since()
    }

    /// Nothing when this version has it, else [`ApiError::Unsupported`].
    pub fn require(self, feature: Feature) -> Result<(), ApiError> {
        if self.has(feature) { Ok(()) } else { Err(ApiError::Unsupported { feature, version: self }) }
    }

    /// The same for a field that may be absent.
    pub(super) fn require_if(self, asked: bool, feature: Feature) -> Result<(), ApiError> {
        if asked { self.require(feature) } else { Ok(()) }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    /// Reads `1.16.1`, `v1.16.1` and `1.17.0-dev`.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(super::text::line(&text.chars().take(64).collect::<String>()));
        let text = text.strip_prefix('v').unwrap_or(text);
        let release = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = release.split('.').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse::<u16>().map_err(|_| error()) } else { Err(error()) }
        });
        let mut next = || numbers.next().ok_or_else(error)?;
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if numbers.next().is_some() { Err(error()) } else { Ok(version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Something that not every version since [`Version::OLDEST`] has. From Firecracker's changelog and from its API
/// descriptions and request structs at each release's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// `huge_pages` of `/machine-config`: 2 MiB pages of hugetlbfs.
    HugePages,
    /// `network_overrides` of `PUT /snapshot/load`: another tap than the template's.
    NetworkOverrides,
    /// `track_dirty_pages` of `PUT /snapshot/load`; it was `enable_diff_snapshots` before.
    TrackDirtyPagesOnLoad,
    /// `imds_compat` of `PUT /mmds/config`.
    ImdsCompat,
    /// `free_page_reporting` of `PUT /balloon`: the guest gives freed memory back by itself.
    FreePageReporting,
    /// `free_page_hinting` of `PUT /balloon`.
    FreePageHinting,
    /// `vsock_override` of `PUT /snapshot/load`: another socket than the template's.
    VsockOverride,
    /// `clock_realtime` of `PUT /snapshot/load`: the guest's kvmclock wakes at the present time.
    ClockRealtime,
    /// `mtu` of `PUT /network-interfaces`.
    NetworkMtu,
    /// A kernel in the bzImage format; earlier ones boot nothing but an uncompressed ELF `vmlinux`.
    BzImage,
    /// `Transparent` as `huge_pages` of `/machine-config`.
    TransparentHugePages,
    /// `huge_pages` of `PUT /snapshot/load`.
    SnapshotHugePages,
}

impl Feature {
    /// All of them, by version.
    pub const ALL: [Self; 12] = [
        Self::HugePages,
        Self::NetworkOverrides,
        Self::TrackDirtyPagesOnLoad,
        Self::ImdsCompat,
        Self::FreePageReporting,
        Self::FreePageHinting,
        Self::VsockOverride,
        Self::ClockRealtime,
        Self::NetworkMtu,
        Self::BzImage,
        Self::TransparentHugePages,
        Self::SnapshotHugePages,
    ];

    /// The first version that has it.
    pub const fn since(self) -> Version {
        let minor = match self {
            Self::HugePages => 7,
            Self::NetworkOverrides => 12,
            Self::TrackDirtyPagesOnLoad | Self::ImdsCompat => 13,
            Self::FreePageReporting | Self::FreePageHinting => 14,
            Self::VsockOverride | Self::ClockRealtime | Self::NetworkMtu => 16,
            Self::BzImage | Self::TransparentHugePages | Self::SnapshotHugePages => 17,
        };
        Version::new(1, minor, 0)
    }
}

impl fmt::Display for Feature {
    /// A noun that fits after "has no".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HugePages => "huge pages for guest memory",
            Self::NetworkOverrides => "way to give a restored machine its own tap (network_overrides)",
            Self::TrackDirtyPagesOnLoad => "track_dirty_pages for a restored machine",
            Self::ImdsCompat => "EC2-compatible answers of the metadata service (imds_compat)",
            Self::FreePageReporting => "free page reporting in its balloon",
            Self::FreePageHinting => "free page hinting in its balloon",
            Self::VsockOverride => "way to give a restored machine its own vsock socket (vsock_override)",
            Self::ClockRealtime => "way to set a restored machine's kvmclock (clock_realtime)",
            Self::NetworkMtu => "MTU setting of network interfaces",
            Self::BzImage => "support for bzImage kernels",
            Self::TransparentHugePages => "transparent huge pages for guest memory",
            Self::SnapshotHugePages => "choice of huge pages for a restored machine",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let version: Version = "1.17.0-dev".parse().unwrap();
        assert_eq!(version, Version::new(1, 17, 0));
        assert_eq!("v1.9.1".parse(), Ok(Version::new(1, 9, 1)));
        assert!(Version::new(1, 9, 1) < Version::new(1, 10, 0));
        assert_eq!(Version::new(1, 16, 1).to_string(), "1.16.1");
        for bad in
            ["", "1", "1.2", "1.2.3.4", "1.2.x", "1.+2.3", "1..3", "latest", "1.2.99999", "v", "-1.2.3"]
        {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
        let hostile = format!("1.\u{1b}]{}", "x".repeat(10_000)).parse::<Version>().unwrap_err().to_string();
        assert!(hostile.len() < 200 && !hostile.contains('\u{1b}'), "{hostile}");
    }

    #[test]
    fn a_feature_is_there_from_its_version_on() {
        for feature in Feature::ALL {
            let since = feature.since();
            assert!(since.has(feature) && since > Version::OLDEST, "{feature}");
            let before = Version::new(since.major, since.minor - 1, 9);
            let error = before.require(feature).unwrap_err().to_string();
            assert!(error.contains(&before.to_string()) && error.contains(&since.to_string()), "{error}");
        }
        assert!(Feature::ALL.is_sorted_by_key(|feature| feature.since()));
    }
}
