//! Logins. A cookie has a random number that says nothing; what it stands for is here, and in a file for the next server.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::caller::Key;
use super::lease::Lease;
use super::people::Person;
use super::request::COOKIE_PREFIX;
use crate::Role;
use crate::server::kept;

/// Logins at once. For a new one goes the oldest of the token that has most: nobody's logins end others'.
const MOST: usize = 1000;
/// A login that is not used for so long ends; one by a provider in any case.
const IDLE: Duration = Duration::from_secs(12 * 3600);

/// The logins of one server.
pub(super) struct Sessions {
    cookie_name: String,
    /// By the hash of what their cookies say: whoever reads the file, or this, has no cookie.
    all: Mutex<HashMap<String, Login>>,
    file: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Login {
    /// The mark of its token, or of its provider. A token that is not configured any more, or has another role, has no such mark.
    mark: String,
    used: Timestamp,
    /// Whom a provider has sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<Sent>,
    /// Cancelled when it ends.
    #[serde(skip)]
    ended: CancellationToken,
}

impl Drop for Login {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Sent {
    name: String,
    role: Role,
    /// When the provider has said so: groups change, and nobody tells us.
    since: Timestamp,
}

/// Who a login stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) role: Role,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { cookie_name: cookie_name(None), all: Mutex::default(), file: None }
    }
}

/// The same for each server of this host that keeps its logins in this file, and for no other.
fn cookie_name(file: Option<&Path>) -> String {
    let mut hash = Sha256::new();
    // The same directory is on many hosts.
    hash.update(std::fs::read("/etc/machine-id").unwrap_or_default());
    hash.update(file.map(|file| file.as_os_str().as_encoded_bytes()).unwrap_or_default());
    format!("{COOKIE_PREFIX}{}", URL_SAFE_NO_PAD.encode(&hash.finalize()[..6]))
}

impl Sessions {
    /// With those that an earlier server left in this file. One that cannot be read is as good as none: people log in anew.
    pub(super) fn kept_in(file: PathBuf) -> Self {
        let all = match kept::read(&file) {
            Ok(all) => all.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "logins of before could not be read; people log in again");
                HashMap::new()
            }
        };
        Self { cookie_name: cookie_name(Some(&file)), all: Mutex::new(all), file: Some(file) }
    }

    /// What the cookies of its logins are called.
    pub(super) fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Login>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one with this key; gives what its cookie says.
    pub(super) fn open(&self, key: &Key) -> String {
        self.add(Login {
            mark: mark(key),
            used: Timestamp::now(),
            person: None,
            ended: CancellationToken::new(),
        })
    }

    /// Begins one of somebody whom the provider of this mark has sent; gives what its cookie says.
    pub(super) fn open_for(&self, Person { name, role }: &Person, mark: String) -> String {
        let used = Timestamp::now();
        let person = Some(Sent { name: name.clone(), role: *role, since: used });
        self.add(Login { mark, used, person, ended: CancellationToken::new() })
    }

    fn add(&self, login: Login) -> String {
        let cookie = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let mut all = self.all();
        if all.len() >= MOST {
            let mut of = HashMap::<&str, usize>::new();
            all.values().for_each(|login| *of.entry(&login.mark).or_default() += 1);
            let goes = all.iter().max_by_key(|(_, login)| (of.get(&*login.mark), Reverse(login.used)));
            let goes = goes.map(|(name, _)| name.clone());
            goes.map(|goes| all.remove(&goes));
        }
        all.insert(name(&cookie), login);
        drop(all);
        self.save();
        cookie
    }

    /// Who a login stands for, by these keys or the provider of this mark, and what can go on with it. It counts as used now.
    pub(super) fn find(
        self: &Arc<Self>,
        cookie: &str,
        keys: &[Key],
        provider: Option<&str>,
    ) -> Option<(Holder, Lease)> {
        let name = name(cookie);
        let mut all = self.all();
        let login = all.get_mut(&name)?;
        let now = Timestamp::now();
        let holder = match &login.person {
            Some(sent) if provider == Some(&login.mark) => {
                Some(Holder { name: sent.name.clone(), role: sent.role })
            }
            Some(_) => None,
            None => {
                let key = keys.iter().find(|key| mark(key) == login.mark);
                key.map(|key| Holder { name: key.name.clone(), role: key.role })
            }
        };
        if holder.is_none() || is_over(login, now) {
            all.remove(&name);
            return None;
        }
        login.used = now;
        let sessions = Arc::clone(self);
        let use_it = move || {
            if let Some(login) = sessions.all().get_mut(&name) {
                login.used = Timestamp::now();
            }
        };
        let left = login.person.as_ref().map(|person| IDLE.saturating_sub(since(person.since, now)));
        Some((holder?, Lease::new(use_it, login.ended.clone(), left)))
    }

    /// Ends one.
    pub(super) fn close(&self, cookie: &str) {
        if self.all().remove(&name(cookie)).is_some() {
            self.save();
        }
    }

    /// Writes them down for the next server.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else { return };
        let now = Timestamp::now();
        let mut all = self.all();
        all.retain(|_, login| !is_over(login, now));
        if let Err(error) = kept::write(file, &*all) {
            tracing::warn!(file = %file.display(), %error, "logins could not be written down; after a restart people log in again");
        }
    }
}

fn is_over(login: &Login, now: Timestamp) -> bool {
    let too_long = |then: Timestamp| since(then, now) > IDLE;
    too_long(login.used) || login.person.as_ref().is_some_and(|person| too_long(person.since))
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(then).unsigned_abs()
}

fn name(cookie: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(cookie))
}

fn mark(key: &Key) -> String {
    let mut hash = Sha256::new();
    for part in [b"session".as_slice(), key.name.as_bytes(), key.role.name().as_bytes(), key.token.hash()] {
        hash.update(u64::try_from(part.len()).unwrap_or_default().to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use futures::FutureExt as _;

    use super::*;
    use crate::Token;

    fn key(name: &str, role: Role, token: &str) -> Key {
        Key { name: name.to_owned(), role, token: Token::new(token).unwrap() }
    }

    #[test]
    fn a_login_lasts_over_a_restart_as_long_as_its_token_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sessions.json");
        let one = key("anna", Role::Operator, "0123456789abcdef");
        let cookie = Sessions::kept_in(file.clone()).open(&one);
        let again = || Arc::new(Sessions::kept_in(file.clone()));
        let found = |keys: &[Key]| again().find(&cookie, keys, None).map(|(holder, _)| holder.name);
        assert_eq!(found(std::slice::from_ref(&one)), Some("anna".to_owned()));
        assert_eq!(found(&[key("anna", Role::Admin, "0123456789abcdef")]), None, "another role");
        assert_eq!(found(&[key("anna", Role::Operator, "0123456789abcdeF")]), None, "another token");
        assert_eq!(found(&[]), None);
        let elsewhere = Sessions::kept_in(dir.path().join("others.json"));
        assert_ne!(elsewhere.cookie_name(), again().cookie_name(), "two servers of one host name");
        assert!(again().find("nonsense", std::slice::from_ref(&one), None).is_none());
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&cookie) && !text.contains("0123456789"), "{text}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        again().close(&cookie);
        assert_eq!(found(std::slice::from_ref(&one)), None, "logged out");
    }

    #[test]
    fn somebody_whom_a_provider_has_sent_is_in_as_long_as_it_is_the_same_and_half_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Arc::new(Sessions::kept_in(dir.path().join("sessions.json")));
        let person = || Person { name: "oidc:anna".to_owned(), role: Role::Operator };
        let cookie = sessions.open_for(&person(), "mark".to_owned());
        let again = Arc::new(Sessions::kept_in(dir.path().join("sessions.json")));
        let found = |sessions: &Arc<Sessions>, cookie: &str, provider: Option<&str>| {
            sessions.find(cookie, &[], provider).map(|(holder, _)| holder)
        };
        let holder = Holder { name: "oidc:anna".to_owned(), role: Role::Operator };
        assert_eq!(found(&again, &cookie, Some("mark")), Some(holder));
        assert_eq!(found(&again, &cookie, Some("other")), None, "other groups, or another provider");
        assert_eq!(found(&again, &cookie, Some("mark")), None, "it has ended");
        assert_eq!(found(&sessions, &cookie, None), None, "no provider any more");
        let cookie = sessions.open_for(&person(), "mark".to_owned());
        for login in sessions.all().values_mut() {
            login.person.as_mut().unwrap().since -= IDLE + Duration::from_secs(1);
        }
        assert_eq!(found(&sessions, &cookie, Some("mark")), None, "however much it is used");
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_ends_with_half_a_day_of_a_person_and_uses_the_login_of_a_token() {
        let sessions = Arc::new(Sessions::default());
        let person = Person { name: "oidc:anna".to_owned(), role: Role::Operator };
        let cookie = sessions.open_for(&person, "mark".to_owned());
        for login in sessions.all().values_mut() {
            login.person.as_mut().unwrap().since -= IDLE;
            login.person.as_mut().unwrap().since += Duration::from_secs(100);
        }
        let (_, lease) = sessions.find(&cookie, &[], Some("mark")).unwrap();
        let begun = tokio::time::Instant::now();
        lease.ended().await;
        assert!(
            begun.elapsed().abs_diff(Duration::from_secs(100)) < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );

        let one = key("anna", Role::Operator, "0123456789abcdef");
        let (_, lease) = sessions.find(&sessions.open(&one), std::slice::from_ref(&one), None).unwrap();
        let long_ago = Timestamp::now() - IDLE / 2;
        let used = || {
            sessions.all().values().filter(|login| login.person.is_none()).all(|login| login.used > long_ago)
        };
        for login in sessions.all().values_mut() {
            login.used = long_ago;
        }
        assert!(!used());
        assert!(tokio::time::timeout(IDLE, lease.ended()).await.is_err(), "a shell that is open is used");
        assert!(used());
    }

    #[tokio::test]
    async fn logins_are_bounded_end_when_idle_and_a_damaged_file_is_none() {
        let sessions = Arc::new(Sessions::default());
        let one = key("anna", Role::Viewer, "0123456789abcdef");
        let other = key("kim", Role::Admin, "fedcba9876543210");
        let keys = std::slice::from_ref(&one);
        let (others, first) = (sessions.open(&other), sessions.open(&one));
        let (_, lease) = sessions.find(&first, keys, None).unwrap();
        for login in sessions.all().values_mut() {
            login.used -= IDLE / 2;
        }
        for _ in 0..MOST {
            sessions.open(&one);
        }
        assert_eq!(sessions.all().len(), MOST);
        assert!(sessions.find(&first, keys, None).is_none(), "the oldest of the many made room");
        assert!(lease.ended().now_or_never().is_some(), "and what goes on with it ends");
        assert!(sessions.find(&others, &[other], None).is_some(), "nobody else's did");
        let last = sessions.open(&one);
        for login in sessions.all().values_mut() {
            login.used -= IDLE + Duration::from_secs(1);
        }
        assert!(sessions.find(&last, keys, None).is_none(), "too long unused");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sessions.json");
        std::fs::write(&file, "{").unwrap();
        let damaged = Arc::new(Sessions::kept_in(file));
        let cookie = damaged.open(&one);
        assert!(damaged.find(&cookie, keys, None).is_some());
    }
}
