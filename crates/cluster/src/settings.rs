//! How NATS is reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use fireactions_model::{ClusterHost, ClusterName, Secret};

/// Gives the host's credentials as they are now, or why they cannot be read. It may block for a moment.
pub type CredsSource = Arc<dyn Fn() -> Result<Secret, String> + Send + Sync>;

/// How the cluster's NATS is reached, and as whom.
#[derive(Clone)]
pub struct Settings {
    /// The cluster.
    pub cluster: ClusterName,
    /// This host.
    pub host: ClusterHost,
    /// Servers of one NATS: `nats://` or `tls://` each.
    pub urls: Vec<String>,
    /// Whether no connection may go without TLS.
    pub require_tls: bool,
    /// This host's credentials.
    pub creds: Option<CredsSource>,
    /// Authorities (PEM) to trust in place of the usual ones.
    pub ca_file: Option<PathBuf>,
    /// This host's certificate and its key (PEM).
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// The servers, for people.
    pub(crate) fn where_(&self) -> String {
        self.urls.join(", ")
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("cluster", &self.cluster)
            .field("host", &self.host)
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}
