//! The process: its settings, start, end and log.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::inside::Inside;
use super::program::Program;
use super::settings;
use crate::certificate::Authority;
use crate::port::ReservedPort;

/// How long a start may take: two seconds on an idle machine.
const START: Duration = Duration::from_secs(180);
/// How long an end may take that was asked for.
const END: Duration = Duration::from_secs(60);
/// Its settings and its log, in its directory.
const SETTINGS: &str = "app.ini";
const LOG: &str = "gitea.log";
/// The administrator, and its password.
pub(super) const ADMIN: (&str, &str) = ("boss", "correct-horse-7");

/// Where a server is to be found.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it listens. Port 0 is any that is free.
    pub listen: SocketAddr,
    /// Its name in the addresses that it gives, such as `172.30.0.1`, by which guests reach it.
    pub host: String,
    /// What its own address begins with behind a reverse proxy, such as `/git`; empty without.
    pub prefix: String,
    /// Whether it speaks TLS, with a certificate of an authority of its own ([`RealGitea::authority`]).
    pub tls: bool,
    /// More of `app.ini`. A section that is there already may be named again.
    pub more: String,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            host: Ipv4Addr::LOCALHOST.to_string(),
            prefix: String::new(),
            tls: false,
            more: String::new(),
        }
    }
}

/// A running server. Killed when dropped; the log of one that a failed test had is kept in `target/failed`.
pub struct RealGitea {
    pub(super) inside: Inside,
    program: Program,
    pub(super) dir: tempfile::TempDir,
    /// Where it listens, also between its end and its next start.
    port: ReservedPort,
    /// As it calls itself, without a slash at its end.
    url: String,
    /// Of its certificate, with TLS.
    authority: Option<String>,
    child: Mutex<Option<Child>>,
    token: String,
}

impl RealGitea {
    /// Starts one in the network namespace of the calling thread, waits until it answers, makes an administrator.
    ///
    /// # Panics
    ///
    /// When it does not start within three minutes, with the end of its log.
    pub fn start(program: &Program, place: &Place) -> Self {
        let mut gitea = Self::new(program.clone(), place);
        gitea.begin();
        gitea.token = gitea.make_admin();
        gitea
    }

    /// Its directory and settings.
    fn new(program: Program, place: &Place) -> Self {
        let dir = tempfile::Builder::new().prefix("gitea-").tempdir().unwrap();
        let (inside, asked) = (Inside::new(), place.listen);
        let port = inside.run(move |_| ReservedPort::new(asked));
        let listen = port.address();
        let authority = place.tls.then(Authority::new);
        let scheme = if place.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}:{}{}", place.host, listen.port(), place.prefix);
        let mut text = settings::text(dir.path(), &program, listen, &url, &place.more);
        if let Some(authority) = &authority {
            let (certificate, key) = authority.server_pem();
            fs::write(dir.path().join("tls.pem"), certificate).unwrap();
            fs::write(dir.path().join("tls.key"), key).unwrap();
            text += &settings::tls(dir.path());
        }
        fs::write(dir.path().join(SETTINGS), text).unwrap();
        Self {
            inside,
            program,
            dir,
            port,
            url,
            authority: authority.map(|authority| authority.pem()),
            child: Mutex::new(None),
            token: String::new(),
        }
    }

    /// Starts the program and waits until it answers.
    fn begin(&self) {
        let log = File::options().create(true).append(true).open(self.dir.path().join(LOG)).unwrap();
        let mut command = self.command("setpriv");
        // Gone with the test, however that ends.
        command.args(["--pdeathsig", "KILL"]).arg(&self.program.binary).arg("--config");
        command.arg(self.dir.path().join(SETTINGS)).arg("web").stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = self.inside.run(move |_| command.spawn()).expect("setpriv (util-linux) is needed");
        let deadline = Instant::now() + START;
        loop {
            if self.answers() {
                *self.child() = Some(child);
                return;
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("Gitea ended at its start: {status}\n{}", self.log());
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("Gitea does not answer after {START:?}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The program or another one, in this server's directory and with an environment of its own.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// By the program's own command line, as an operator does it; gives a token for everything.
    fn make_admin(&self) -> String {
        let (name, password) = ADMIN;
        let mut command = self.command(&self.program.binary);
        command
            .arg("--config")
            .arg(self.dir.path().join(SETTINGS))
            .args(["admin", "user", "create", "--admin"]);
        command.args(["--username", name, "--password", password, "--email", "boss@example.invalid"]);
        command.args(["--must-change-password=false", "--access-token", "--access-token-scopes", "all"]);
        let output = self.inside.run(move |_| command.output()).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let token =
            text.lines().find_map(|line| line.strip_prefix("Access token was successfully created... "));
        let token = token.filter(|_| output.status.success());
        let token = token.unwrap_or_else(|| {
            panic!("no administrator: {text}\n{}\n{}", String::from_utf8_lossy(&output.stderr), self.log())
        });
        token.trim().to_owned()
    }

    /// Stops it as a service manager does, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not run, or does not end within a minute.
    pub fn stop(&self) -> ExitStatus {
        let mut child = self.child().take().expect("a Gitea that runs");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + END;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("Gitea did not end within {END:?}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it, as a power cut does.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, with what it had.
    ///
    /// # Panics
    ///
    /// When it runs already, or does not start within three minutes.
    pub fn boot(&self) {
        assert!(self.child().is_none(), "Gitea runs already");
        self.begin();
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn port(&self) -> u16 {
        self.port.address().port()
    }

    /// Its address as it gives it to others, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same server for whoever is in its namespace, past any proxy.
    pub fn local(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port())
    }

    /// What a client has to trust (PEM), where it speaks TLS.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// The administrator's token, which may do everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.path().join(LOG)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    /// Keeps the log of a test that failed; says where.
    fn keep_log(&self) {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/failed");
        let test = std::env::var("NEXTEST_TEST_NAME").ok();
        let test = test.or_else(|| std::thread::current().name().map(str::to_owned)).unwrap_or_default();
        let path = kept.join(format!("{}-{}.gitea.log", test.replace("::", "."), self.port()));
        match fs::create_dir_all(&kept).and_then(|()| fs::copy(self.dir.path().join(LOG), &path)) {
            Ok(_) => eprintln!("kept: Gitea's log in {}", path.display()),
            Err(error) => eprintln!("Gitea's log cannot be kept in {}: {error}", path.display()),
        }
    }
}

impl Drop for RealGitea {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            self.keep_log();
        }
    }
}
