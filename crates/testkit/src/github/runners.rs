//! Runners: minted, online, busy, gone.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::http::random;

use super::FakeGithub;
use super::known::accounts::{Scope, ScopeId};
use super::known::jobs::AssignmentResult;
use super::known::lists::Past;
use super::known::runners::{Entry, READ_ONLY, Runner, RunnerFate, is_read_only};
use super::runner;
use super::state::State;

impl State {
    /// Makes a runner and the credential for it, encoded as the runner takes it.
    pub(super) fn mint_runner(
        &mut self,
        scope: ScopeId,
        name: &str,
        group: u64,
        labels: Vec<String>,
        scale_set: Option<u64>,
        work: &str,
    ) -> (u64, String) {
        let id = self.id();
        let token = random(40);
        let base = self.runner_base.clone().unwrap_or_else(|| self.base.clone());
        let url = format!("{base}{}", runner::PREFIX);
        // The real thing is some kilobytes long.
        let settings = random(3000);
        let config = json!({"url": url, "token": token, "name": name, "work": work, "settings": settings});
        let name = name.to_owned();
        let (online, job, fate) = (false, None, None);
        let now = Instant::now();
        let public = Runner { id, name, labels, group, scale_set, online, job, fate };
        let past = Past::default();
        let config = STANDARD.encode(config.to_string());
        let encoded = config.clone();
        let entry = Entry { public, scope, token, config, used_by: None, minted: now, heard: now, past };
        self.runners.entries.insert(id, entry);
        self.touch();
        (id, encoded)
    }

    /// Takes a runner out of the list; a job that it has is lost or given to another.
    pub(super) fn remove_runner(&mut self, id: u64, fate: RunnerFate) {
        let Some(entry) = self.runners.entries.get_mut(&id).filter(|entry| entry.is_listed()) else { return };
        entry.public.fate = Some(fate);
        entry.public.online = false;
        let job = entry.public.job;
        self.touch();
        if let Some(job) = job {
            self.runner_left(
                job,
                if fate == RunnerFate::Lost {
                    AssignmentResult::Lost
                } else {
                    AssignmentResult::RunnerDeleted
                },
            );
        }
    }

    /// Removes runners that time has run out for, and tells those apart that are no longer connected.
    pub(super) fn expire_runners(&mut self) {
        let connected = self.runners.connected_for;
        let away = |entry: &&mut Entry| entry.is_idle() && entry.heard.elapsed() > connected;
        let mut changed = 0;
        for entry in self.runners.entries.values_mut().filter(away) {
            entry.public.online = false;
            changed = 1;
        }
        self.version += changed;
        let (unused, silent) = (self.runners.unused_for, self.runners.silent_for);
        let over = |entry: &Entry| {
            let never = entry.used_by.is_none() && entry.minted.elapsed() > unused;
            let lost = entry.public.job.is_some() && entry.heard.elapsed() > silent;
            match (never, lost) {
                (true, _) => Some(RunnerFate::Expired),
                (_, true) => Some(RunnerFate::Lost),
                _ => None,
            }
        };
        let listed = self.runners.entries.values().filter(|entry| entry.is_listed());
        let over: Vec<_> = listed.filter_map(|entry| Some((entry.public.id, over(entry)?))).collect();
        for (id, fate) in over {
            self.remove_runner(id, fate);
        }
    }

    fn listed_runner(&self, name: &str) -> u64 {
        let found = self.runners.entries.values().find(|e| e.is_listed() && e.public.name == name);
        found.unwrap_or_else(|| panic!("no runner {name}")).public.id
    }
}

impl FakeGithub {
    /// Every runner there ever was, oldest first.
    pub fn all_runners(&self) -> Vec<Runner> {
        self.shared.with(|state| state.runners.entries.values().map(|entry| entry.public.clone()).collect())
    }

    /// The runners that are listed.
    pub fn runners(&self) -> Vec<Runner> {
        self.all_runners().into_iter().filter(|runner| runner.fate.is_none()).collect()
    }

    /// Makes a credential as `generate-jitconfig` does when it is asked for these labels and GitHub's own, for tests that need
    /// no client.
    ///
    /// # Panics
    ///
    /// When the scope is not set up.
    pub fn jit_config(&self, scope: &Scope, name: &str, labels: &[&str]) -> String {
        let own = labels.iter().filter(|label| !is_read_only(label));
        let labels = READ_ONLY.iter().chain(own).map(|label| (*label).to_owned()).collect();
        self.shared.with(|state| state.mint_runner(state.scope(scope), name, 1, labels, None, "_work").1)
    }

    /// The runner is removed as if its credential had not been used for too long.
    ///
    /// # Panics
    ///
    /// When no runner of this name is listed.
    pub fn expire_jit(&self, name: &str) {
        self.shared.with(|state| state.remove_runner(state.listed_runner(name), RunnerFate::Expired));
    }

    /// Credentials that are not used for so long are worthless, and their runners removed; 5 minutes unless set.
    pub fn set_jit_expiry(&self, time: Duration) {
        self.shared.with(|state| state.runners.unused_for = time);
    }

    /// A runner with a job that says nothing for so long is lost, and its job with it; 10 minutes unless set. The
    /// stand-in runner says something every second.
    pub fn set_runner_silence(&self, time: Duration) {
        self.shared.with(|state| state.runners.silent_for = time);
    }

    /// A runner without a job that asks for none for so long is shown as offline, and gets none; 10 seconds unless set.
    pub fn set_offline_after(&self, time: Duration) {
        self.shared.with(|state| state.runners.connected_for = time);
    }

    /// Somebody changes a runner on the settings page: its own labels and its group.
    ///
    /// # Panics
    ///
    /// When no runner of this name is listed.
    pub fn change_runner_by_hand(&self, name: &str, labels: &[&str], group: u64) {
        self.shared.with(|state| {
            let id = state.listed_runner(name);
            let runner = &mut state.runners.entries.get_mut(&id).expect("it is listed").public;
            runner.labels.retain(|label| is_read_only(label));
            runner.labels.extend(labels.iter().map(|label| (*label).to_owned()));
            runner.group = group;
        });
    }

    /// Removes a runner as a person would on the settings page, busy or not.
    ///
    /// # Panics
    ///
    /// When no runner of this name is listed.
    pub fn delete_runner_by_hand(&self, name: &str) {
        self.shared.with(|state| state.remove_runner(state.listed_runner(name), RunnerFate::DeletedByHand));
    }

    /// GitHub gives a runner up that it has not heard of for too long, and with it the job that it has begun.
    ///
    /// # Panics
    ///
    /// When no runner of this name is listed.
    pub fn lose_runner(&self, name: &str) {
        self.shared.with(|state| state.remove_runner(state.listed_runner(name), RunnerFate::Lost));
    }

    /// Runners that come online are told that their version is too old.
    pub fn deprecate_runners(&self, deprecated: bool) {
        self.shared.with(|state| state.runners.deprecated = deprecated);
    }
}
