//! What a server is, and what it can do by its version.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Kind};

/// A version, as far as features hang on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 1 at every Gitea.
    pub major: u64,
    /// The one that brings features at Gitea.
    pub minor: u64,
    /// Corrections.
    pub patch: u64,
}

impl Version {
    /// From its three numbers.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = NoVersion;

    /// Reads what servers say: `1.26.0`, `1.24.0+dev-12-g0ff`, `v1.25`, `15.0.3+gitea-1.22.0`, `17.0.0-dev-609-a14eb`. What
    /// comes before a release counts as the release.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let numbers = text.split(['+', '-', ' ']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(str::parse::<u64>);
        let mut part = || parts.next().transpose().map_err(|_| NoVersion);
        let (major, minor, patch) = (part()?, part()?, part()?);
        let (Some(major), Some(minor)) = (major, minor) else { return Err(NoVersion) };
        Ok(Self { major, minor, patch: patch.unwrap_or(0) })
    }
}

/// The text is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a version, such as 1.24")]
pub struct NoVersion;

/// A server, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which forge.
    pub kind: Kind,
    /// Its version.
    pub version: Version,
    /// Its own words for it.
    pub text: String,
}

/// How the queue of jobs is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// Not at all: Gitea before 1.25, Forgejo before 11.
    None,
    /// Page by page, with what became of each job: Gitea from 1.25.
    Listed,
    /// By labels, all that match them at once: Forgejo 11 to 13.
    ByLabels,
    /// All at once: Forgejo from 14.
    Unpaged,
}

/// What a server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It gives an ephemeral runner one job and then forgets it: Gitea from 1.24, Forgejo from 15.
    pub ephemeral: bool,
    /// Runners can be listed and deleted: Gitea from 1.24, Forgejo from 15.
    pub runner_api: bool,
    /// A runner can be told to take no job: Gitea from 1.26.
    pub disables_runners: bool,
    /// A runner is registered without a registration token: Forgejo from 15.
    pub rest_registration: bool,
    /// How the queue is read.
    pub jobs: Jobs,
    /// A machine can be bound to one job: Forgejo from 15.
    pub handles: bool,
    /// It delivers `workflow_job`: Gitea from 1.24.
    pub job_hooks: bool,
    /// A registration token is made by POST, otherwise it is read by GET: Gitea from 1.24.
    pub(crate) posts_token: bool,
    /// A job can be asked for by its number after it has ended: Gitea from 1.25, Forgejo from 17.
    pub(crate) job_api: bool,
}

impl Server {
    /// What `GET /version` said.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`]: it is the other forge, or none of the two.
    pub(crate) fn read(kind: Kind, text: &str) -> Result<Self, Error> {
        let text = fireactions_http::plain(text);
        let settings = |why: String| Error::Settings { forge: kind, why };
        let found = if text.contains("+gitea-") { Kind::Forgejo } else { Kind::Gitea };
        let version = text.parse::<Version>().map_err(|error| {
            settings(format!("the server says that its version is '{text}': {error}; is it really a {kind}?"))
        })?;
        if found != kind {
            return Err(settings(format!(
                "the server is a {found} ({text}): set its kind to '{}'",
                found.as_str().to_ascii_lowercase()
            )));
        }
        Ok(Self { kind, version, text })
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        let from = |major, minor| self.version >= Version::new(major, minor, 0);
        match self.kind {
            Kind::Gitea => Capabilities {
                ephemeral: from(1, 24),
                runner_api: from(1, 24),
                disables_runners: from(1, 26),
                rest_registration: false,
                jobs: if from(1, 25) { Jobs::Listed } else { Jobs::None },
                handles: false,
                job_hooks: from(1, 24),
                posts_token: from(1, 24),
                job_api: from(1, 25),
            },
            Kind::Forgejo => Capabilities {
                ephemeral: from(15, 0),
                runner_api: from(15, 0),
                disables_runners: false,
                rest_registration: from(15, 0),
                jobs: match self.version.major {
                    14.. => Jobs::Unpaged,
                    11.. => Jobs::ByLabels,
                    _ => Jobs::None,
                },
                handles: from(15, 0),
                job_hooks: false,
                posts_token: false,
                job_api: from(17, 0),
            },
        }
    }

    /// What a call says that this server does not have: `what`, and the version that has it.
    pub(crate) fn lacks(&self, doing: String, what: &str, gitea: &str, forgejo: &str) -> Error {
        let (kind, wanted) = match self.kind {
            Kind::Gitea => (self.kind, gitea),
            Kind::Forgejo => (self.kind, forgejo),
        };
        let why = format!("{kind} {} has no {what}; upgrade to {wanted} or later", self.version);
        Error::Unsupported { doing, why }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_servers_say_them() {
        for (text, version) in [
            ("1.26.0", Version::new(1, 26, 0)),
            ("1.24.0+dev-12-g0ff", Version::new(1, 24, 0)),
            ("v1.25", Version::new(1, 25, 0)),
            ("1.24.0-rc0", Version::new(1, 24, 0)),
            ("15.0.3+gitea-1.22.0", Version::new(15, 0, 3)),
            ("17.0.0-dev-609-a14eb80977+gitea-1.22.0", Version::new(17, 0, 0)),
            (" 1.23.8 ", Version::new(1, 23, 8)),
        ] {
            assert_eq!(text.parse(), Ok(version), "{text}");
        }
        for text in ["", "x", "1", "1.x", "main", "1.2.x", "-1.2", "99999999999999999999.1"] {
            assert_eq!(text.parse::<Version>(), Err(NoVersion), "{text}");
        }
    }

    fn can(kind: Kind, text: &str) -> Capabilities {
        Server::read(kind, text).unwrap().capabilities()
    }

    #[test]
    fn gitea_by_version() {
        let row = |text| {
            let can = can(Kind::Gitea, text);
            assert!(!can.rest_registration && !can.handles);
            (can.ephemeral, can.runner_api, can.job_hooks, can.posts_token, can.jobs)
        };
        assert_eq!(row("1.22.6"), (false, false, false, false, Jobs::None));
        assert_eq!(row("1.23.8"), (false, false, false, false, Jobs::None));
        assert_eq!(row("1.24.0+dev-12"), (true, true, true, true, Jobs::None));
        assert_eq!(row("1.25.0"), (true, true, true, true, Jobs::Listed));
        assert_eq!(row("1.27.0"), (true, true, true, true, Jobs::Listed));
    }

    #[test]
    fn forgejo_by_version() {
        let row = |major: u64| {
            let can = can(Kind::Forgejo, &format!("{major}.0.1+gitea-1.22.0"));
            assert!(!can.job_hooks && !can.posts_token);
            assert_eq!([can.runner_api, can.rest_registration, can.handles], [can.ephemeral; 3]);
            (can.ephemeral, can.jobs, can.job_api)
        };
        assert_eq!(row(10), (false, Jobs::None, false));
        assert_eq!(row(11), (false, Jobs::ByLabels, false));
        assert_eq!(row(13), (false, Jobs::ByLabels, false));
        assert_eq!(row(14), (false, Jobs::Unpaged, false));
        assert_eq!(row(15), (true, Jobs::Unpaged, false));
        assert_eq!(row(17), (true, Jobs::Unpaged, true));
    }

    #[test]
    fn the_other_forge_is_told() {
        let error = Server::read(Kind::Gitea, "15.0.3+gitea-1.22.0").unwrap_err().to_string();
        assert!(error.contains("is a Forgejo") && error.contains("'forgejo'"), "{error}");
        let error = Server::read(Kind::Forgejo, "1.26.0").unwrap_err().to_string();
        assert!(error.contains("is a Gitea") && error.contains("'gitea'"), "{error}");
        let error = Server::read(Kind::Forgejo, "\u{1b}[31mnginx").unwrap_err().to_string();
        assert!(error.contains("is it really a Forgejo") && !error.contains(char::is_control), "{error}");
    }

    #[test]
    fn what_is_lacking_says_what_to_do() {
        let server = Server::read(Kind::Gitea, "1.23.1").unwrap();
        let error =
            server.lacks("list the runners of user".into(), "list of runners", "1.24", "15").to_string();
        assert_eq!(
            error,
            "cannot list the runners of user: Gitea 1.23.1 has no list of runners; upgrade to 1.24 or later"
        );
    }
}
