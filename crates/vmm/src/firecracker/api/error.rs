//! What can go wrong between the driver and Firecracker, in words for people.

use std::io;
use std::time::Duration;

use fireactions_model::MachineId;

use super::{Feature, Version};
use crate::VmmError;

/// A request that was not carried out, or not known to be.
///
/// No variant holds a request's body, so the contents of the metadata service reach no message.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody answers on the socket.
    #[error("cannot connect to Firecracker's API socket: {0}")]
    Connect(io::Error),
    /// Nobody listened on the socket in time.
    #[error("Firecracker did not open its API socket within {deadline:?} ({last}); its log may say why")]
    NotReady {
        /// How long was tried.
        deadline: Duration,
        /// What the last attempt said.
        last: io::Error,
    },
    /// The jail could not be closed before the guest's start.
    #[error("the jail could not be closed: {0}")]
    Jail(io::Error),
    /// No complete answer in time. Whether the request took effect is unknown.
    #[error(
        "Firecracker did not answer {request} within {deadline:?}; the host may be overloaded or the process hung"
    )]
    Timeout {
        /// Method and path.
        request: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// Firecracker said no.
    #[error("Firecracker refused {request} (status {status}): {fault}")]
    Refused {
        /// Method and path.
        request: String,
        /// HTTP status, 400 to 599.
        status: u16,
        /// Its own words, printable and bounded.
        fault: String,
    },
    /// The answer is not what Firecracker's API gives.
    #[error("Firecracker's answer to {request} makes no sense: {reason}")]
    Protocol {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer was cut off because it is too long.
    #[error("Firecracker's answer to {request} is longer than {limit} bytes")]
    TooLarge {
        /// Method and path.
        request: String,
        /// Longest answer that is read.
        limit: usize,
    },
    /// This version of Firecracker lacks what was asked for; nothing was sent.
    #[error("Firecracker {version} has no {feature}; version {} has it", feature.since())]
    Unsupported {
        /// What.
        feature: Feature,
        /// The version that runs.
        version: Version,
    },
    /// This version of Firecracker is too old for the driver altogether.
    #[error("Firecracker {0} is too old; install {oldest} or later", oldest = Version::OLDEST)]
    TooOld(Version),
    /// The request itself is wrong; nothing was sent.
    #[error("{request} cannot be requested: {reason}")]
    Invalid {
        /// Method and path.
        request: String,
        /// What is wrong and what would be right.
        reason: String,
    },
}

impl ApiError {
    /// The same as a failure of machine `id`.
    pub fn of(self, id: &MachineId) -> VmmError {
        let id = id.clone();
        match self {
            Self::Refused { request, fault, .. } => VmmError::Refused { id, what: request, why: fault },
            Self::NotReady { deadline, .. } => {
                VmmError::Timeout { id, what: "open its API socket", deadline }
            }
            Self::Timeout { deadline, .. } => {
                VmmError::Timeout { id, what: "answer on its API socket", deadline }
            }
            Self::Connect(source) => VmmError::File {
                action: "connect to",
                path: format!("the API socket of {id}").into(),
                source,
            },
            Self::Jail(source) => {
                VmmError::File { action: "close", path: format!("the jail of {id}").into(), source }
            }
            error @ (Self::Unsupported { .. } | Self::TooOld(_) | Self::Invalid { .. }) => {
                VmmError::Spec { id, reason: error.to_string() }
            }
            error => VmmError::Control { id, reason: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_a_machine_keeps_the_words() {
        let id = MachineId::from_random([7; 8]);
        let request = || "PUT /vsock".to_owned();
        let deadline = Duration::from_secs(2);
        let refused = ApiError::Refused { request: request(), status: 400, fault: "no".into() };
        let lacks = ApiError::Unsupported { feature: Feature::VsockOverride, version: Version::OLDEST };
        let late = ApiError::NotReady { deadline, last: io::ErrorKind::NotFound.into() };
        for (error, words) in [
            (refused, ["PUT /vsock", "no"]),
            (lacks, ["1.5.0", "1.16.0"]),
            (ApiError::TooOld(Version::new(1, 2, 3)), ["1.2.3", "1.5.0"]),
            (late, ["API socket", "2s"]),
            (ApiError::Timeout { request: request(), deadline }, ["answer", "2s"]),
            (ApiError::Connect(io::ErrorKind::ConnectionRefused.into()), ["API socket", "refused"]),
            (ApiError::TooLarge { request: request(), limit: 9 }, ["PUT /vsock", "9 bytes"]),
        ] {
            let said = error.of(&id).to_string();
            assert!(said.contains(id.as_str()) && words.iter().all(|word| said.contains(word)), "{said}");
        }
    }
    /// Otherwise one late answer of a busy host would throw a good template away.
    #[test]
    fn what_the_host_is_too_late_or_too_short_for_says_nothing_of_a_template() {
        let id = MachineId::from_random([7; 8]);
        let late =
            ApiError::Timeout { request: "PUT /snapshot/load".into(), deadline: Duration::from_secs(10) };
        assert!(late.of(&id).is_hosts());
        let short = || io::Error::from(rustix::io::Errno::MFILE);
        assert!(ApiError::Connect(short()).of(&id).is_hosts() && ApiError::Jail(short()).of(&id).is_hosts());
        let refused =
            ApiError::Refused { request: "PUT /snapshot/load".into(), status: 400, fault: "no".into() };
        assert!(!refused.of(&id).is_hosts());
    }
}
