//! A real NATS server with JetStream, which `scripts/build-nats` built.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::certificate::Authority;
use crate::port::ReservedPort;
use crate::{fetched, skip};

/// How long it may take to start, on a busy host.
const START: Duration = Duration::from_secs(60);

/// The program; nothing where it is not built, and then it is said that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `nats` and there is none.
pub fn available(test: &str) -> Option<PathBuf> {
    fetched::program("build-nats", skip::Kind::Nats, test)
}

/// How one is set up.
#[derive(Debug, Clone)]
pub struct NatsSetup {
    /// Without it there is nothing but messages.
    pub jetstream: bool,
    /// Most bytes that JetStream may store.
    pub storage: Option<u64>,
    /// Where it listens.
    pub ip: IpAddr,
    /// With a certificate of an authority of its own, for 127.0.0.1 and localhost.
    pub tls: bool,
    /// It knows clients by credentials alone.
    pub credentials: bool,
}

impl Default for NatsSetup {
    fn default() -> Self {
        Self {
            jetstream: true,
            storage: None,
            ip: Ipv4Addr::LOCALHOST.into(),
            tls: false,
            credentials: false,
        }
    }
}

/// One that runs. It ends when this is dropped.
pub struct RealNats {
    program: PathBuf,
    process: Option<Child>,
    dir: tempfile::TempDir,
    port: ReservedPort,
    setup: NatsSetup,
    authority: Authority,
    accounts: Accounts,
}

impl RealNats {
    /// Starts it, and waits until it takes clients.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start(program: &Path, setup: NatsSetup) -> Self {
        let port = ReservedPort::new(SocketAddr::new(setup.ip, 0));
        let mut nats = Self {
            program: program.to_path_buf(),
            process: None,
            dir: tempfile::tempdir().unwrap(),
            port,
            setup,
            authority: Authority::new(),
            accounts: Accounts::new(),
        };
        fs::write(nats.path("nats.conf"), nats.config()).unwrap();
        nats.resume();
        nats
    }

    fn config(&self) -> String {
        let mut text = format!("listen: \"{}\"\n", self.port.address());
        if self.setup.jetstream {
            let most =
                self.setup.storage.map(|bytes| format!(", max_file_store: {bytes}")).unwrap_or_default();
            let _ = writeln!(text, "jetstream: {{store_dir: \"{}\"{most}}}", self.path("store").display());
        }
        if self.setup.tls {
            let (certificate, key) = self.authority.server_pem();
            fs::write(self.path("tls.pem"), certificate).unwrap();
            fs::write(self.path("tls.key"), key).unwrap();
            let (pem, key) = (self.path("tls.pem"), self.path("tls.key"));
            let _ =
                writeln!(text, "tls: {{cert_file: \"{}\", key_file: \"{}\"}}", pem.display(), key.display());
        }
        if self.setup.credentials {
            text.push_str(&self.accounts.config());
        }
        text
    }

    /// Starts it again where it was, with what it had stored.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn resume(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let process = Command::new(&self.program)
            .arg("--config")
            .arg(self.path("nats.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let process = self.process.insert(process);
        let until = Instant::now() + START;
        // It greets its clients: a port that listens may not be ready.
        let greets = |address: SocketAddr| {
            let stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).ok().filter(|read| *read > 0)
        };
        while greets(self.port.address()).is_none() {
            let ended = process.try_wait().unwrap();
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "nats-server: {ended:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, as `kill -9` does.
    ///
    /// # Panics
    ///
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.setup.tls { "tls" } else { "nats" };
        format!("{scheme}://{}", self.port.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What a client has to trust (PEM).
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// A file with credentials that it accepts.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn credentials(&self) -> PathBuf {
        self.write_credentials("user.creds", &self.accounts.credentials(&json!({}), &json!({})))
    }

    /// A file with credentials of a user who may publish and subscribe to these subjects alone.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn limited_credentials(&self, publish: &[String], subscribe: &[String]) -> PathBuf {
        let text = self.accounts.credentials(&json!({"allow": publish}), &json!({"allow": subscribe}));
        self.write_credentials("limited.creds", &text)
    }

    /// A file with credentials of somebody whom it does not know.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn strange_credentials(&self) -> PathBuf {
        self.write_credentials("stranger.creds", &Accounts::new().credentials(&json!({}), &json!({})))
    }

    fn write_credentials(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for RealNats {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// An operator, an account and a user, as `nsc` makes them
/// (<https://docs.nats.io/running-a-nats-service/configuration/securing_nats/jwt>).
struct Accounts {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
    user: KeyPair,
}

impl Accounts {
    fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
            user: KeyPair::new_user(),
        }
    }

    fn config(&self) -> String {
        let of_operator =
            json!({"type": "operator", "version": 2, "system_account": self.system.public_key()});
        let mut limits = json!({
            "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": true,
        });
        let of_system = json!({"type": "account", "version": 2, "limits": limits});
        for key in ["mem_storage", "disk_storage", "streams", "consumer"] {
            limits[key] = json!(-1);
        }
        let of_account = json!({"type": "account", "version": 2, "limits": limits});
        let [system, account] = [&self.system, &self.account].map(KeyPair::public_key);
        format!(
            "operator: \"{}\"\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload: {{{system}: \"{}\", {account}: \"{}\"}}\n",
            token(&self.operator, &self.operator, &of_operator),
            token(&self.operator, &self.system, &of_system),
            token(&self.operator, &self.account, &of_account)
        )
    }

    fn credentials(&self, publish: &Value, subscribe: &Value) -> String {
        let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": publish, "sub": subscribe});
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(&self.account, &self.user, &claims),
            self.user.seed().unwrap()
        )
    }
}

/// A JWT as NATS has them.
fn token(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let body = part(json!({
        "jti": subject.public_key(), "iat": 1_700_000_000, "name": "test",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": claims,
    }));
    let signed = format!("{head}.{body}");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
