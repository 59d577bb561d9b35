//! Runners: made, seen, gone.

use crate::http::{random, uuid};

use super::FakeGitea;
use super::known::accounts::Owner;
use super::known::runners::{Entry, Runner, RunnerFate};
use super::runner::FakeRunner;
use super::state::State;

/// A runner that was not heard of for so many seconds is offline.
const OFFLINE: i64 = 60;

/// A runner that did not tell of its task for so many seconds is idle.
const IDLE: i64 = 10;

/// How a runner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Offline,
    Idle,
    Active,
}

/// What a new runner says of itself.
#[derive(Debug, Default)]
pub(super) struct NewRunner {
    pub(super) name: String,
    pub(super) labels: Option<Vec<String>>,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) ephemeral: bool,
}

impl State {
    /// Registers one and gives its id.
    pub(super) fn add_runner(&mut self, owner: Owner, new: NewRunner) -> u64 {
        let id = self.runners.entries.keys().next_back().map_or(1, |last| last + 1);
        let labelled = new.labels.is_some();
        let public = Runner {
            id,
            uuid: uuid(),
            name: new.name,
            labels: new.labels.unwrap_or_default(),
            version: new.version,
            ephemeral: new.ephemeral && self.release.knows_runners(),
            disabled: false,
            task: None,
            fate: None,
        };
        let token = crate::kept::hex(random(20).as_bytes());
        let description = new.description;
        let entry = Entry { public, owner, token, description, labelled, online: 0, active: 0 };
        self.runners.entries.insert(id, entry);
        self.touch();
        id
    }

    /// It is no longer registered. Its job stays as it is.
    pub(super) fn remove_runner(&mut self, id: u64, fate: RunnerFate) {
        if let Some(entry) = self.runners.entries.get_mut(&id).filter(|entry| entry.public.fate.is_none()) {
            entry.public.fate = Some(fate);
            self.touch();
        }
    }

    pub(super) fn presence(&self, entry: &Entry) -> Presence {
        let now = self.now().as_second();
        match entry {
            entry if now - entry.online > OFFLINE => Presence::Offline,
            entry if now - entry.active > IDLE => Presence::Idle,
            _ => Presence::Active,
        }
    }

    /// How often the jobs changed that runners of this owner may run. Never zero once asked for.
    pub(super) fn tasks_version(&mut self, owner: Owner) -> i64 {
        *self.runners.versions.entry(owner).or_insert(1)
    }

    /// A job of the repository can be run now, or could.
    pub(super) fn renew_tasks(&mut self, repository: u64) {
        let owner = self.accounts.repository(repository).owner;
        let all = [Owner::default(), Owner { owner, repository: 0 }, Owner { owner: 0, repository }];
        for owner in all {
            *self.runners.versions.entry(owner).or_insert(0) += 1;
        }
    }
}

impl FakeGitea {
    /// Every runner that was ever registered, in the order of their ids.
    pub fn runners(&self) -> Vec<Runner> {
        self.shared.with(|state| state.runners.entries.values().map(|entry| entry.public.clone()).collect())
    }

    /// Those that are registered.
    pub fn registered(&self) -> Vec<Runner> {
        self.shared.with(|state| state.runners.registered().map(|entry| entry.public.clone()).collect())
    }

    /// A person deletes a runner on the forge's pages.
    pub fn delete_runner(&self, id: u64) {
        self.shared.with(|state| state.remove_runner(id, RunnerFate::DeletedByHand));
    }

    /// A runner that was registered, to be played.
    ///
    /// # Panics
    ///
    /// When there never was one.
    pub fn play(&self, id: u64) -> FakeRunner {
        let url = self.url();
        self.shared.with(|state| {
            let entry = &state.runners.entries[&id];
            FakeRunner::new(&url, &entry.public.uuid, &entry.token)
        })
    }

    /// Whether the forge takes the runner to be there, and to be busy.
    ///
    /// # Panics
    ///
    /// When there never was one.
    pub fn stands(&self, id: u64) -> (bool, bool) {
        self.shared.with(|state| {
            let presence = state.presence(&state.runners.entries[&id]);
            (presence != Presence::Offline, presence == Presence::Active)
        })
    }
}
