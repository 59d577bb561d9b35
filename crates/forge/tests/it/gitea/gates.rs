//! Where runners stop until a test lets them go on: nothing waits by the clock.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use crate::github::farm::SOON;

/// Gates, by name. Clones share them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Gates {
    open: watch::Sender<BTreeSet<String>>,
    /// How many have come to each.
    come: watch::Sender<BTreeMap<String, usize>>,
}

impl Gates {
    /// Lets all through who are there or come.
    pub(crate) fn open(&self, name: &str) {
        self.open.send_modify(|open| {
            open.insert(name.to_owned());
        });
    }

    /// Goes through, once it is open.
    pub(crate) async fn pass(&self, name: &str) {
        self.come.send_modify(|come| *come.entry(name.to_owned()).or_default() += 1);
        self.open.subscribe().wait_for(|open| open.contains(name)).await.unwrap();
    }

    /// Waits until so many have come to it.
    pub(crate) async fn come(&self, name: &str, count: usize) {
        let mut come = self.come.subscribe();
        let all = come.wait_for(|come| come.get(name).is_some_and(|there| *there >= count));
        tokio::time::timeout(SOON, all).await.unwrap_or_else(|_| panic!("{count} at {name}")).unwrap();
    }
}
