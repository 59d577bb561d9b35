//! What a job may do, by its forge's word.

use std::net::IpAddr;

use fireactions_model::MachineId;

use crate::{Repository, Scope};

/// What one job may do. Whoever makes one has it from the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The job's repository.
    pub repository: Repository,
    /// Whose entries it finds; those of the first are preferred.
    pub reads: Vec<Scope>,
    /// Where it saves; nowhere, if there is none.
    pub writes: Option<Scope>,
    /// The only address that its token is good from: its machine's.
    pub address: Option<IpAddr>,
}

impl Grant {
    /// A job of which nothing is known: it finds what it saved itself, and nobody else does. That goes with the job.
    pub fn alone(machine: &MachineId) -> Self {
        let own = Scope::alone(machine);
        Self {
            repository: Repository(own.0.clone()),
            reads: vec![own.clone()],
            writes: Some(own),
            address: None,
        }
    }

    /// A job of a repository that finds what the default branch has and saves for itself alone: it was caused by something
    /// that is neither a branch's nor a pull request's, or nobody knows by what.
    pub fn reader(repository: Repository, machine: &MachineId, default: &str) -> Self {
        let own = Scope::alone(machine);
        Self {
            repository,
            reads: vec![own.clone(), Scope(default.to_owned())],
            writes: Some(own),
            address: None,
        }
    }

    /// A job of a branch (or tag): it saves for its ref and finds what its ref and the default branch have.
    pub fn branch(repository: Repository, reference: &str, default: &str) -> Self {
        let own = Scope(reference.to_owned());
        let mut reads = vec![own.clone(), Scope(default.to_owned())];
        reads.dedup();
        Self { repository, reads, writes: Some(own), address: None }
    }

    /// A job of a pull request: it saves where no other pull request and no branch looks, and finds what its target and
    /// the default branch have, too.
    pub fn pull_request(repository: Repository, number: u64, target: Option<&str>, default: &str) -> Self {
        let own = Scope(format!("refs/pull/{number}/merge"));
        let mut reads = vec![own.clone()];
        reads.extend(target.map(|target| Scope(target.to_owned())));
        reads.push(Scope(default.to_owned()));
        reads.dedup();
        Self { repository, reads, writes: Some(own), address: None }
    }

    /// The same, for callers from `address` alone.
    #[must_use]
    pub fn from(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }
}
