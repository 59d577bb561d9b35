//! Apps, their installations, and tokens.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::super::keys::Key;

/// An app and its private key, as its owner gets them.
#[derive(Debug, Clone)]
pub struct AppKey {
    /// The app's id; a JWT's issuer.
    pub id: u64,
    /// The app's client id; also good as a JWT's issuer.
    pub client_id: String,
    /// The key as GitHub hands it out (`BEGIN RSA PRIVATE KEY`).
    pub pkcs1: String,
    /// The same key as PKCS#8 (`BEGIN PRIVATE KEY`).
    pub pkcs8: String,
}

/// Permissions by name: `read` or `write`.
pub(in super::super) type Permissions = BTreeMap<String, String>;

#[derive(Debug)]
pub(in super::super) struct App {
    pub(in super::super) id: u64,
    pub(in super::super) client_id: String,
    pub(in super::super) slug: String,
    pub(in super::super) key: Key,
    pub(in super::super) events: Vec<String>,
    pub(in super::super) created: Timestamp,
}

#[derive(Debug)]
pub(in super::super) struct Installation {
    pub(in super::super) id: u64,
    pub(in super::super) app: u64,
    pub(in super::super) account: u64,
    pub(in super::super) permissions: Permissions,
    /// All of the account's, when none is named.
    pub(in super::super) repositories: Option<BTreeSet<u64>>,
    pub(in super::super) suspended: bool,
    pub(in super::super) created: Timestamp,
}

#[derive(Debug)]
pub(in super::super) struct Token {
    pub(in super::super) installation: u64,
    pub(in super::super) permissions: Permissions,
    pub(in super::super) repositories: Option<BTreeSet<u64>>,
    pub(in super::super) expires: Timestamp,
}

#[derive(Debug, Default)]
pub(in super::super) struct Apps {
    pub(in super::super) known: Vec<App>,
    pub(in super::super) installations: Vec<Installation>,
    pub(in super::super) tokens: BTreeMap<String, Token>,
    /// Scopes of each personal access token.
    pub(in super::super) personal: BTreeMap<String, Vec<String>>,
    pub(in super::super) lifetime: Option<SignedDuration>,
}

impl Apps {
    pub(in super::super) fn app(&self, id: u64) -> &App {
        self.known.iter().find(|app| app.id == id).expect("apps stay")
    }
}
