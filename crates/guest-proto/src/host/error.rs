//! Why a link could not do it.

/// What went wrong between host and guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link was closed on this side.
    #[error("the link to the machine's agent is closed")]
    Closed,
    /// The connection was cut while a file or an exec was under way. The whole operation can be tried again.
    #[error("the connection to the machine's agent was interrupted; try again")]
    Disconnected,
    /// The guest broke the protocol's rules. The link is dead and the machine not to be trusted: destroy it.
    #[error("the machine's agent broke the protocol ({0}); the machine must be destroyed")]
    Protocol(String),
    /// The agent speaks no version that this server speaks.
    #[error(
        "the machine's agent speaks no version of the protocol between {oldest} and {newest}; it was \
         booted by a server that is too old or too new: destroy the machine"
    )]
    Version {
        /// Oldest version of this server.
        oldest: u16,
        /// Newest version of this server.
        newest: u16,
    },
    /// The job's program could not be started.
    #[error("the program could not be started: {0}")]
    Unstartable(String),
    /// The guest tried and failed.
    #[error("the machine's agent reports: {0}")]
    Guest(String),
    /// Something is larger than it may be.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Reading the source or writing the destination on the host failed.
    #[error("{0}")]
    Local(String),
}
