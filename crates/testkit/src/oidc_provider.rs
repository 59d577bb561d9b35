//! A real provider of OpenID Connect, from npm, with people of its own (crates/oidc/tests/provider).

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{fetched, skip};

/// The directory of packages that `scripts/oidc-provider` fetches; nothing where they are not there, and then it is said that
/// `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `oidc` and they are not there.
pub fn available(test: &str) -> Option<PathBuf> {
    fetched::packages("oidc-provider", skip::Kind::Oidc, test)
}

/// One that runs on loopback. It ends when this is dropped, or the test ends.
pub struct OidcProvider {
    process: Child,
    /// Its issuer.
    pub issuer: String,
}

impl OidcProvider {
    /// Starts it, for clients with this redirect URI. `userinfo`: it tells groups there, and not in the id token.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(packages: &Path, redirect: &str, userinfo: bool) -> Self {
        let mut process = Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../oidc/tests/provider/server.mjs"))
            .arg(packages)
            .arg(redirect)
            .args(userinfo.then_some("userinfo"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It warns of its own keys and cookies, which are for tests indeed.
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let issuer = lines.find_map(|line| line.ok().filter(|line| line.starts_with("http://")));
        Self { process, issuer: issuer.expect("it says its issuer") }
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
