//! Which host of a cluster gets which of the jobs that wait.
//!
//! Each round gives each want one job more, until nothing fits any more. First of all hosts keep what they were given before: their
//! machines for it may have begun. What is new goes, in this order, where a machine waits for it already, where one is on its way, where
//! the template or the image is, to the zone and then to the host that has the least of it. So the same input has the same answer, and
//! one job more or less moves no other.
//!
//! It sees only what there is room for now. A job that fits nowhere goes nowhere, and keeps no place: a large one may wait for long while
//! small ones come and go.

use std::collections::BTreeMap;

use fireactions_model::{ClusterHost, Demand, Labels, PoolName, Shape};

use crate::Budget;
use crate::budget::Size;

/// Jobs that wait for a pool, in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The pool.
    pub pool: PoolName,
    /// What they need.
    pub shape: Shape,
    /// How many.
    pub jobs: u32,
    /// Labels that a host must have for them.
    pub needs: Labels,
}

/// A host that takes jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The host.
    pub host: ClusterHost,
    /// What fails together with it.
    pub zone: Option<String>,
    /// What it is or has.
    pub labels: Labels,
    /// What is left of its budget beside machines that are not idle: idle ones may go for others. Zero means that there is no limit.
    pub room: Budget,
    /// Its budget is used up, which a room of zero does not say.
    pub is_full: bool,
    /// Its pools that take jobs; of one that is paused there is nothing here.
    pub pools: BTreeMap<PoolName, PlacePool>,
}

/// A pool of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlacePool {
    /// Machines that it may have for jobs which wait, those that are idle already included.
    pub room: u32,
    /// What of each shape it has, and had been given.
    pub shapes: BTreeMap<Shape, Prepared>,
}

/// How well a host is prepared for jobs of one shape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Jobs that it was given before.
    pub kept: u32,
    /// Machines that wait for a job.
    pub ready: u32,
    /// Machines on their way.
    pub coming: u32,
    /// A template to clone is there.
    pub has_template: bool,
    /// The image is there.
    pub has_image: bool,
}

/// The hosts' shares. A host or pool without any is left out.
pub type Shares = BTreeMap<ClusterHost, BTreeMap<PoolName, Demand>>;

/// Shares the jobs over the hosts. Of two hosts with one name, the first counts.
pub fn place(wanted: &[Wanted], hosts: &[Place]) -> Shares {
    let mut placing = Placing::new(wanted, hosts);
    placing.rounds(true);
    placing.rounds(false);
    placing.shares()
}

/// Jobs of one kind.
type Kind<'a> = (&'a PoolName, &'a Shape);

struct Placing<'a> {
    wanted: &'a [Wanted],
    left: Vec<u32>,
    hosts: Vec<Host<'a>>,
    in_zones: BTreeMap<(&'a str, Kind<'a>), u32>,
}

struct Host<'a> {
    place: &'a Place,
    total: Size,
    left: Size,
    pools: BTreeMap<&'a PoolName, u32>,
    given: BTreeMap<Kind<'a>, u32>,
}

/// What makes a host better for a job than another: the least is best.
type Rank<'a> = ((bool, bool, bool, bool), u32, i64, &'a ClusterHost);

impl<'a> Placing<'a> {
    fn new(wanted: &'a [Wanted], hosts: &'a [Place]) -> Self {
        let mut by_name: BTreeMap<&ClusterHost, Host<'a>> = BTreeMap::new();
        for place in hosts {
            let total = if place.is_full { Size::default() } else { place.room.total() };
            let pools = place.pools.iter().map(|(name, pool)| (name, pool.room)).collect();
            let host = Host { place, total, left: total, pools, given: BTreeMap::new() };
            by_name.entry(&place.host).or_insert(host);
        }
        Self {
            wanted,
            left: wanted.iter().map(|wanted| wanted.jobs).collect(),
            hosts: by_name.into_values().collect(),
            in_zones: BTreeMap::new(),
        }
    }

    /// One job of each want in turn, until none can be placed. `kept`: only where the host was given it before.
    fn rounds(&mut self, kept: bool) {
        let mut open: Vec<usize> = (0..self.wanted.len()).collect();
        while !open.is_empty() {
            open.retain(|index| self.place_one(*index, kept));
        }
    }

    fn place_one(&mut self, index: usize, kept: bool) -> bool {
        let wanted = &self.wanted[index];
        if self.left[index] == 0 {
            return false;
        }
        let its = |host: &&mut Host<'a>| {
            host.holds(wanted) && (!kept || host.given(wanted) < host.prepared(wanted).kept)
        };
        let in_zones = &self.in_zones;
        let best = self.hosts.iter_mut().filter(its).min_by_key(|host| host.rank(wanted, in_zones));
        let Some(host) = best else { return false };
        host.take(wanted);
        if let Some(zone) = &host.place.zone {
            *self.in_zones.entry((zone, (&wanted.pool, &wanted.shape))).or_default() += 1;
        }
        self.left[index] -= 1;
        true
    }

    fn shares(self) -> Shares {
        let mut shares = Shares::new();
        for host in self.hosts {
            for ((pool, shape), jobs) in host.given {
                let share = shares.entry(host.place.host.clone()).or_default();
                share.entry(pool.clone()).or_default().insert(shape.clone(), jobs);
            }
        }
        shares
    }
}

impl<'a> Host<'a> {
    fn prepared(&self, wanted: &Wanted) -> Prepared {
        let pool = self.place.pools.get(&wanted.pool);
        pool.and_then(|pool| pool.shapes.get(&wanted.shape)).copied().unwrap_or_default()
    }

    fn given(&self, wanted: &Wanted) -> u32 {
        self.given.get(&(&wanted.pool, &wanted.shape)).copied().unwrap_or(0)
    }

    fn holds(&self, wanted: &Wanted) -> bool {
        !self.place.is_full
            && self.pools.get(&wanted.pool).is_some_and(|room| *room > 0)
            && self.left.holds(self.place.room.need(&wanted.shape))
            && wanted.needs.is_subset(&self.place.labels)
    }

    fn take(&mut self, wanted: &'a Wanted) {
        self.left = self.left.minus(self.place.room.need(&wanted.shape));
        if let Some(room) = self.pools.get_mut(&wanted.pool) {
            *room = room.saturating_sub(1);
        }
        *self.given.entry((&wanted.pool, &wanted.shape)).or_default() += 1;
    }

    fn rank(&self, wanted: &'a Wanted, in_zones: &BTreeMap<(&'a str, Kind<'a>), u32>) -> Rank<'a> {
        let (prepared, given) = (self.prepared(wanted), self.given(wanted));
        let covered = prepared.ready.saturating_add(prepared.coming);
        let cold = (
            given >= prepared.ready,
            given >= covered,
            given >= covered && !prepared.has_template,
            given >= covered && !prepared.has_image,
        );
        let zone = self.place.zone.as_deref();
        let in_zone = zone.and_then(|zone| in_zones.get(&(zone, (&wanted.pool, &wanted.shape))));
        let used = self.place.room.share(self.total.minus(self.left));
        (cold, in_zone.copied().unwrap_or(0), used, &self.place.host)
    }
}

/// Jobs that were placed nowhere, by pool: what the cluster is short of.
pub fn unplaced(wanted: &[Wanted], shares: &Shares) -> BTreeMap<PoolName, Demand> {
    let mut left: BTreeMap<PoolName, Demand> = BTreeMap::new();
    for wanted in wanted {
        *left.entry(wanted.pool.clone()).or_default().entry(wanted.shape.clone()).or_default() += wanted.jobs;
    }
    for (pool, demand) in shares.values().flatten() {
        for (shape, jobs) in demand {
            if let Some(left) = left.get_mut(pool).and_then(|left| left.get_mut(shape)) {
                *left = left.saturating_sub(*jobs);
            }
        }
    }
    for demand in left.values_mut() {
        demand.retain(|_, jobs| *jobs > 0);
    }
    left.retain(|_, demand| !demand.is_empty());
    left
}
