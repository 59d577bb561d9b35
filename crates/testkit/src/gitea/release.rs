//! Which server the fake is, and what that one can do.

/// A release of Gitea or Forgejo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// Gitea 1.N, for these N.
    Gitea(Minor),
    /// Forgejo N, for these N.
    Forgejo(Major),
}

/// Gitea's releases: 1.22 to 1.26.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Minor {
    V22,
    V23,
    V24,
    V25,
    V26,
}

/// Forgejo's releases: 11, 13, 14 and 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Major {
    V11,
    V13,
    V14,
    V15,
}

use Major::{V11, V13, V14, V15};
use Minor::{V22, V23, V24, V25, V26};

impl Release {
    /// All that the fake can be, the oldest of each forge first.
    pub const ALL: [Self; 9] = [
        Self::Gitea(V22),
        Self::Gitea(V23),
        Self::Gitea(V24),
        Self::Gitea(V25),
        Self::Gitea(V26),
        Self::Forgejo(V11),
        Self::Forgejo(V13),
        Self::Forgejo(V14),
        Self::Forgejo(V15),
    ];

    /// The newest Gitea, which was recorded.
    pub const GITEA: Self = Self::Gitea(V26);

    /// The newest Forgejo, which was recorded.
    pub const FORGEJO: Self = Self::Forgejo(V15);

    /// What `GET /version` says.
    pub fn version(self) -> &'static str {
        match self {
            Self::Gitea(V22) => "1.22.6",
            Self::Gitea(V23) => "1.23.8",
            Self::Gitea(V24) => "1.24.7",
            Self::Gitea(V25) => "1.25.4",
            Self::Gitea(V26) => "1.26.0",
            Self::Forgejo(V11) => "11.0.9+gitea-1.22.0",
            Self::Forgejo(V13) => "13.0.5+gitea-1.22.0",
            Self::Forgejo(V14) => "14.0.3+gitea-1.22.0",
            Self::Forgejo(V15) => "15.0.3+gitea-1.22.0",
        }
    }

    /// Whether it is a Gitea.
    pub fn is_gitea(self) -> bool {
        matches!(self, Self::Gitea(_))
    }

    /// Runners can be listed, looked at and deleted, and an ephemeral one is forgotten with its job.
    pub(super) fn knows_runners(self) -> bool {
        self.gitea_since(V24) || self.forgejo_since(V15)
    }

    /// `POST …/registration-token`.
    pub(super) fn makes_tokens(self) -> bool {
        self.gitea_since(V24)
    }

    /// `GET …/registration-token`.
    pub(super) fn shows_tokens(self) -> bool {
        !self.gitea_since(V26)
    }

    /// `POST …/actions/runners`, and jobs have handles.
    pub(super) fn registers_by_rest(self) -> bool {
        self.forgejo_since(V15)
    }

    /// `PATCH …/actions/runners/{id}`.
    pub(super) fn disables_runners(self) -> bool {
        self.gitea_since(V26)
    }

    /// `GET …/actions/jobs` and `…/runs`.
    pub(super) fn lists_jobs(self) -> bool {
        self.gitea_since(V25)
    }

    /// `GET …/actions/runners/jobs` without `labels` gives all jobs.
    pub(super) fn lists_unlabelled(self) -> bool {
        self.forgejo_since(V14)
    }

    /// `GET …/repos/…/actions/runs` of Forgejo, which came with 12.
    pub(super) fn forgejo_lists_runs(self) -> bool {
        self.forgejo_since(V13)
    }

    /// Webhooks of event `workflow_job`.
    pub(super) fn tells_jobs(self) -> bool {
        self.gitea_since(V24)
    }

    /// The runner protocol answers with codes of its own. Recorded of 15; earlier ones are taken to answer as the Gitea
    /// that they come from.
    pub(super) fn has_codes(self) -> bool {
        self.forgejo_since(V15)
    }

    fn gitea_since(self, minor: Minor) -> bool {
        matches!(self, Self::Gitea(of) if of >= minor)
    }

    fn forgejo_since(self, major: Major) -> bool {
        matches!(self, Self::Forgejo(of) if of >= major)
    }

    /// A DELETE of a runner that is gone is answered with 500: Gitea before 1.26.
    pub(super) fn fails_on_gone_runners(self) -> bool {
        matches!(self, Self::Gitea(_)) && !self.gitea_since(V26)
    }

    /// Which scope a token lacks is said in the words of Gitea 1.24 and later.
    pub(super) fn names_token_scope(self) -> bool {
        self.gitea_since(V24)
    }
}
