//! Connections that one address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Peer;

/// How many connections there may be at once.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Of all together.
    pub all: usize,
    /// Of one address; those of this host's own sockets do not count.
    pub each: usize,
}

impl From<usize> for Connections {
    /// One may have all of them.
    fn from(all: usize) -> Self {
        Self { all, each: all }
    }
}

/// Who has how many.
pub(super) struct Peers {
    each: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection of an address, until it is dropped.
pub(super) struct Counted(Option<(Arc<Peers>, IpAddr)>);

impl Peers {
    pub(super) fn new(each: usize) -> Arc<Self> {
        Arc::new(Self { each, counts: Mutex::default() })
    }

    /// One more connection of this peer; nothing if it has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, peer: Option<Peer>) -> Option<Counted> {
        let Some(Peer::Remote(address)) = peer else { return Some(Counted(None)) };
        let address = address.ip().to_canonical();
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted(Some((self.clone(), address))))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((peers, address)) = &self.0 else { return };
        let mut counts = peers.counts();
        if let Some(count) = counts.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_no_place_of_another_and_gives_its_own_back() {
        let peers = Peers::new(2);
        let of = |last: u8, port: u16| Some(Peer::Remote((IpAddr::from([10, 0, 0, last]), port).into()));
        let (first, second) = (peers.enter(of(2, 1)), peers.enter(of(2, 2)));
        assert!(first.is_some() && second.is_some() && peers.enter(of(2, 3)).is_none());
        let other = peers.enter(of(3, 1));
        assert!(other.is_some());
        let mapped = Peer::Remote(("::ffff:10.0.0.2".parse::<IpAddr>().unwrap(), 4).into());
        assert!(peers.enter(Some(mapped)).is_none(), "it is the same one");
        let locals: Vec<_> = (0..9).map(|_| peers.enter(Some(Peer::Local { uid: Some(0) }))).collect();
        assert!(locals.iter().all(Option::is_some) && peers.enter(None).is_some());
        drop(second);
        let third = peers.enter(of(2, 5));
        assert!(third.is_some());
        drop((first, third, other));
        assert!(peers.counts().is_empty());
    }
}
