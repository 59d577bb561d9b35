//! Saying that a test did not run.
//!
//! `FIREACTIONS_SKIPS` names a file that gets a line for each, `kind<TAB>test<TAB>why`, to be counted when all tests have
//! ended. `FIREACTIONS_REQUIRE` lists kinds, by commas, that must be there: such a skip is a failure.

use std::ffi::OsStr;
use std::fmt;

use crate::lines::{self, given};

/// What a test lacks that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Published descriptions of an API, and samples of its messages.
    Specs,
    /// A real Firecracker, or its jailer.
    Firecracker,
    /// A kernel that Firecracker boots on this host's KVM.
    Lab,
    /// The kernel that `scripts/build-kernel` builds.
    Kernel,
    /// A KVM that can be opened.
    Kvm,
    /// The real Gitea that `make gitea` builds.
    Gitea,
    /// A real Forgejo.
    Forgejo,
    /// Real runners of theirs.
    Runners,
    /// A nixpkgs, or the parts of one that evaluation needs.
    Nixpkgs,
    /// The clients of GitHub's cache service that `scripts/cache-toolkit` fetches.
    Toolkit,
    /// Zot, the registry.
    Zot,
    /// Prometheus and its promtool.
    Prometheus,
    /// A browser, and what drives it.
    Browser,
    /// The collector of OpenTelemetry that `scripts/build-collector` builds.
    Collector,
    /// The NATS server that `scripts/build-nats` builds.
    Nats,
    /// The S3 server that `scripts/build-s3` builds.
    S3,
    /// The provider of OpenID Connect that `scripts/oidc-provider` fetches.
    Oidc,
    /// Squid, with what opens TLS.
    Squid,
    /// Java, with keytool.
    Java,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Specs,
        Self::Firecracker,
        Self::Lab,
        Self::Kernel,
        Self::Kvm,
        Self::Gitea,
        Self::Forgejo,
        Self::Runners,
        Self::Nixpkgs,
        Self::Toolkit,
        Self::Zot,
        Self::Prometheus,
        Self::Browser,
        Self::Collector,
        Self::Nats,
        Self::S3,
        Self::Oidc,
        Self::Squid,
        Self::Java,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Specs => "specs",
            Self::Firecracker => "firecracker",
            Self::Lab => "lab",
            Self::Kernel => "kernel",
            Self::Kvm => "kvm",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::Runners => "runners",
            Self::Nixpkgs => "nixpkgs",
            Self::Toolkit => "toolkit",
            Self::Zot => "zot",
            Self::Prometheus => "prometheus",
            Self::Browser => "browser",
            Self::Collector => "collector",
            Self::Nats => "nats",
            Self::S3 => "s3",
            Self::Oidc => "oidc",
            Self::Squid => "squid",
            Self::Java => "java",
        })
    }
}

/// Says that a test does not run here, and what would make it run. Written past the test harness, which keeps what
/// passing tests print to itself.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has the kind, or a word that is none; when the file of `FIREACTIONS_SKIPS` cannot be written.
pub fn say(kind: Kind, test: &str, why: &str) {
    let require = given("FIREACTIONS_REQUIRE").unwrap_or_default();
    tell(kind, test, why, given("FIREACTIONS_SKIPS").as_deref(), &require.to_string_lossy());
}

fn tell(kind: Kind, test: &str, why: &str, file: Option<&OsStr>, require: &str) {
    lines::say(&format!("SKIPPED ({kind}) {test}: {why}"));
    if let Some(file) = file {
        lines::add(file, &[&kind.to_string(), test, why]);
    }
    for word in require.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        assert!(
            Kind::ALL.iter().any(|known| known.to_string() == word),
            "FIREACTIONS_REQUIRE: there is no kind '{word}'; kinds are {}",
            Kind::ALL.map(|known| known.to_string()).join(", ")
        );
        assert!(
            word != kind.to_string(),
            "FIREACTIONS_REQUIRE has '{kind}', so {test} must not be left out, but: {why}"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn skips_are_written_down_and_fail_where_they_must_not_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("skips");
        let told = |kind, require: &'static str| {
            let file = file.clone();
            let told =
                catch_unwind(move || tell(kind, "a test", "no\tsuch\nthing", Some(file.as_ref()), require));
            told.map_err(|panic| panic.downcast_ref::<String>().unwrap().clone())
        };
        told(Kind::Specs, "").unwrap();
        told(Kind::Kvm, "lab, specs,").unwrap();
        let error = told(Kind::Specs, "lab, specs").unwrap_err();
        assert_eq!(
            error,
            "FIREACTIONS_REQUIRE has 'specs', so a test must not be left out, but: no\tsuch\nthing"
        );
        let error = told(Kind::Specs, "spec").unwrap_err();
        assert!(
            error.ends_with(
                "no kind 'spec'; kinds are specs, firecracker, lab, kernel, kvm, gitea, forgejo, runners, nixpkgs, toolkit, zot, prometheus, browser, collector, nats, s3, oidc, squid, java"
            ),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "specs\ta test\tno such thing\nkvm\ta test\tno such thing\nspecs\ta test\tno such thing\nspecs\ta test\tno such thing\n"
        );
    }
}
