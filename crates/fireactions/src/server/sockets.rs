//! The sockets that outlive a server process: what clients connect to, and what keeps other servers out. They are
//! handed from one process to the next, and no connection is refused in between.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// The API's Unix socket.
    Api,
    /// The API's TCP address.
    Tcp,
    /// The metrics' TCP address.
    Metrics,
    /// The webhook's TCP address.
    Webhook,
    /// The cache's TCP address, at which guests are.
    Cache,
    /// Where the next server asks for all of these.
    Handover,
    /// A claim on what servers do not share; nobody connects to it.
    Claim,
    /// The claim of earlier versions, on the whole network namespace.
    Namespace,
}

/// Which socket it is. Two servers of different versions agree on these words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    /// What it is for.
    pub(super) role: Role,
    /// Path or address, as the configuration has it.
    pub(super) at: String,
    /// Made by a server, which removes its file at the end; the service manager's own sockets stay.
    pub(super) ours: bool,
}

impl Name {
    pub(super) fn new(role: Role, at: impl Into<String>) -> Self {
        Self { role, at: at.into(), ours: true }
    }

    /// Whether both are the same place for the same use.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        self.role == other.role && self.at == other.at
    }

    /// Removes the socket's file, if it has one and it is a server's.
    pub(super) fn remove_file(&self) {
        if self.ours && matches!(self.role, Role::Api | Role::Handover) {
            let _ = std::fs::remove_file(Path::new(&self.at));
        }
    }
}

/// Open sockets by name.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    all: Vec<(Name, OwnedFd)>,
}

impl Sockets {
    pub(super) fn add(&mut self, name: Name, socket: impl Into<OwnedFd>) {
        self.all.push((name, socket.into()));
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.all.extend(others.all);
    }

    pub(super) fn names(&self) -> Vec<Name> {
        self.all.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The descriptors, in the order of [`Sockets::names`].
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.all.iter().map(|(_, socket)| socket.as_fd()).collect()
    }

    pub(super) fn has(&self, role: Role) -> bool {
        self.all.iter().any(|(name, _)| name.role == role)
    }

    /// Another descriptor of the socket for `role`, to be served; this one stays, to be handed on.
    pub(super) fn duplicate(&self, role: Role) -> io::Result<Option<OwnedFd>> {
        let socket = self.all.iter().find(|(name, _)| name.role == role);
        socket.map(|(_, socket)| socket.try_clone()).transpose()
    }

    /// Closes every socket that is not in `wanted` and returns their names.
    pub(super) fn keep(&mut self, wanted: &[Name]) -> Vec<Name> {
        let is_wanted = |name: &Name| wanted.iter().any(|other| other.is_at(name));
        let (kept, closed) = std::mem::take(&mut self.all).into_iter().partition(|(name, _)| is_wanted(name));
        self.all = kept;
        closed.into_iter().map(|(name, _)| name).collect()
    }

    /// Closes all and removes the files of those that are ours. For a server that ends without a successor.
    pub(super) fn remove(self) {
        for (name, socket) in self.all {
            // The file first: a client that comes between the two finds a socket that nobody accepts from, which is
            // how the end of a server looks in any case.
            name.remove_file();
            drop(socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn unwanted_sockets_are_closed_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut sockets = Sockets::default();
        for (role, file) in [(Role::Api, "api"), (Role::Handover, "handover")] {
            sockets.add(Name::new(role, path(file)), UnixListener::bind(path(file)).unwrap());
        }
        let elsewhere = Name::new(Role::Api, path("elsewhere"));
        let handover = Name { ours: false, ..Name::new(Role::Handover, path("handover")) };
        let closed = sockets.keep(&[elsewhere, handover.clone()]);
        assert_eq!(closed, [Name::new(Role::Api, path("api"))]);
        assert!(
            sockets.names()[0].is_at(&handover) && sockets.has(Role::Handover) && !sockets.has(Role::Api)
        );
        closed[0].remove_file();
        sockets.remove();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_of_the_service_manager_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api");
        let mut sockets = Sockets::default();
        let name = Name { ours: false, ..Name::new(Role::Api, path.display().to_string()) };
        sockets.add(name, UnixListener::bind(&path).unwrap());
        sockets.remove();
        assert!(path.exists());
    }
}
