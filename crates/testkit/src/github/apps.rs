//! Apps, their installations, and the tokens that people and installations have.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::http::random;

use super::FakeGithub;
use super::keys::Key;
use super::known::accounts::{Scope, ScopeId};
use super::known::apps::{App, AppKey, Installation, Permissions, Token};
use super::state::State;

impl State {
    /// Makes a token for an installation.
    pub(super) fn mint(
        &mut self,
        installation: u64,
        permissions: Permissions,
        repositories: Option<BTreeSet<u64>>,
    ) -> (String, Timestamp) {
        let lifetime = self.apps.lifetime.unwrap_or(SignedDuration::from_hours(1));
        let expires = self.clock.stamp().saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        // Nobody is to rely on a length.
        let length = 36 + usize::try_from(self.id() % 7).unwrap_or(0) * 60;
        let token = format!("ghs_{}", random(length));
        self.apps.tokens.insert(token.clone(), Token { installation, permissions, repositories, expires });
        (token, expires)
    }
}

fn permissions(given: &[(&str, &str)]) -> Permissions {
    given.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
}

impl FakeGithub {
    /// Sets up an app with a new key. It has asked for the event `workflow_job`.
    pub fn app(&self, slug: &str) -> AppKey {
        let key = Key::generate();
        self.shared.with(|state| {
            let id = state.id();
            let client_id = format!("Iv23li{}", random(14));
            let of = AppKey { id, client_id, pkcs1: key.pkcs1.clone(), pkcs8: key.pkcs8.clone() };
            state.apps.known.push(App {
                id,
                client_id: of.client_id.clone(),
                slug: slug.to_owned(),
                key,
                events: vec!["workflow_job".into()],
                created: state.clock.stamp(),
            });
            of
        })
    }

    /// The app's events are these from now on.
    ///
    /// # Panics
    ///
    /// When there is no such app.
    pub fn set_events(&self, app: u64, events: &[&str]) {
        self.shared.with(|state| {
            let app = state.apps.known.iter_mut().find(|known| known.id == app).expect("an app");
            app.events = events.iter().map(|event| (*event).to_owned()).collect();
        });
    }

    /// The app gets another key; JWTs signed with the old one are refused.
    ///
    /// # Panics
    ///
    /// When there is no such app.
    pub fn rotate_key(&self, app: u64) -> AppKey {
        let key = Key::generate();
        self.shared.with(|state| {
            let app = state.apps.known.iter_mut().find(|known| known.id == app).expect("an app");
            let (pkcs1, pkcs8) = (key.pkcs1.clone(), key.pkcs8.clone());
            app.key = key;
            AppKey { id: app.id, client_id: app.client_id.clone(), pkcs1, pkcs8 }
        })
    }

    /// Installs an app on an account with these permissions, such as `("organization_self_hosted_runners", "write")`,
    /// for all its repositories, and gives the installation's id.
    ///
    /// # Panics
    ///
    /// When the account is not set up.
    pub fn install(&self, app: u64, account: &str, given: &[(&str, &str)]) -> u64 {
        self.shared.with(|state| {
            let account = state.accounts.named(account, false).expect("an account").id;
            let (id, created) = (state.id(), state.clock.stamp());
            let permissions = permissions(given);
            let (repositories, suspended) = (None, false);
            state.apps.installations.push(Installation {
                id,
                app,
                account,
                permissions,
                repositories,
                suspended,
                created,
            });
            id
        })
    }

    /// Installs an app with everything that a runner system asks for.
    pub fn install_fully(&self, app: u64, account: &str) -> u64 {
        let all = [
            ("organization_self_hosted_runners", "write"),
            ("administration", "write"),
            ("actions", "read"),
            ("metadata", "read"),
        ];
        self.install(app, account, &all)
    }

    /// The installation sees these repositories (`owner/name`) only.
    ///
    /// # Panics
    ///
    /// When one of them is not set up.
    pub fn select_repositories(&self, installation: u64, repositories: &[&str]) {
        self.shared.with(|state| {
            let id = |name: &&str| {
                let found = state.accounts.find(&Scope::Repository((*name).to_owned()));
                let Some(ScopeId::Repository(id)) = found else { panic!("{name} is not set up") };
                id
            };
            let selected = Some(repositories.iter().map(id).collect());
            installation_of(state, installation).repositories = selected;
        });
    }

    /// The installation has these permissions from now on; tokens that are out keep theirs.
    pub fn set_permissions(&self, installation: u64, given: &[(&str, &str)]) {
        self.shared.with(|state| installation_of(state, installation).permissions = permissions(given));
    }

    /// Suspends an installation, or ends that.
    pub fn suspend(&self, installation: u64, suspended: bool) {
        self.shared.with(|state| installation_of(state, installation).suspended = suspended);
    }

    /// The app is no longer installed there: its tokens are worthless and its id is unknown.
    pub fn uninstall(&self, installation: u64) {
        self.shared.with(|state| {
            state.apps.installations.retain(|known| known.id != installation);
            state.apps.tokens.retain(|_, token| token.installation != installation);
        });
    }

    /// Tokens that are made from now on live so long instead of an hour.
    pub fn set_token_lifetime(&self, lifetime: SignedDuration) {
        self.shared.with(|state| state.apps.lifetime = Some(lifetime));
    }

    /// All tokens of installations are worthless from now on.
    pub fn revoke_tokens(&self) {
        self.shared.with(|state| state.apps.tokens.clear());
    }

    /// Sets up a personal access token with these scopes, such as `admin:org`, `repo` or
    /// `manage_runners:enterprise`.
    pub fn personal_token(&self, scopes: &[&str]) -> String {
        let token = format!("ghp_{}", random(36));
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.shared.with(|state| state.apps.personal.insert(token.clone(), scopes));
        token
    }

    /// Everything secret that the fake has handed out and that is still good: keys, tokens of all kinds, and runners'
    /// credentials. Of what is long, a piece from its middle.
    pub fn secrets(&self) -> Vec<String> {
        self.shared.with(|state| {
            let key = |app: &App| app.key.pkcs1.lines().nth(3).unwrap_or_default().to_owned();
            let piece = |config: &String| config.chars().skip(400).take(60).collect();
            let mut all: Vec<String> = state.apps.known.iter().map(key).collect();
            all.extend(state.apps.tokens.keys().chain(state.apps.personal.keys()).cloned());
            all.extend(state.sets.registrations.keys().chain(state.sets.admins.keys()).cloned());
            all.extend(state.sets.known.values().filter_map(|set| Some(set.session.as_ref()?.token.clone())));
            all.extend(state.runners.entries.values().map(|entry| piece(&entry.config)));
            all
        })
    }

    /// A personal access token is worthless from now on.
    pub fn revoke_personal_token(&self, token: &str) {
        self.shared.with(|state| state.apps.personal.remove(token));
    }
}

fn installation_of(state: &mut State, id: u64) -> &mut Installation {
    state.apps.installations.iter_mut().find(|known| known.id == id).expect("an installation")
}
