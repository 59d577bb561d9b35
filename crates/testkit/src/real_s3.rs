//! A real S3 server, VersityGW, which `scripts/build-s3` built.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::certificate::Authority;
use crate::port::ReservedPort;
use crate::{fetched, skip};

/// How long it may take to start, on a busy host.
const START: Duration = Duration::from_secs(60);
/// The one bucket that it has.
pub const BUCKET: &str = "ci-cache";
/// Where it says that it is.
pub const REGION: &str = "eu-test-1";
/// Whom it knows.
pub const KEY_ID: &str = "tester";
/// How they prove it.
pub const SECRET: &str = "what only tests know";

/// The program; nothing where it is not built, and then it is said that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `s3` and there is none.
pub fn available(test: &str) -> Option<PathBuf> {
    fetched::program("build-s3", skip::Kind::S3, test)
}

/// One that runs, with an empty bucket. It ends when this is dropped, and what it has is gone.
pub struct RealS3 {
    program: PathBuf,
    process: Mutex<Option<Child>>,
    dir: tempfile::TempDir,
    port: ReservedPort,
    authority: Option<Authority>,
}

impl RealS3 {
    /// Starts it, and waits until it takes clients.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start(program: &Path) -> Self {
        Self::start_with(program, None)
    }

    /// The same, with a certificate of an authority of its own.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_with_tls(program: &Path) -> Self {
        Self::start_with(program, Some(Authority::new()))
    }

    fn start_with(program: &Path, authority: Option<Authority>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["all", "all/ci-cache", "meta"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        if let Some(authority) = &authority {
            let (certificate, key) = authority.server_pem();
            fs::write(dir.path().join("tls.pem"), certificate).unwrap();
            fs::write(dir.path().join("tls.key"), key).unwrap();
        }
        let port = ReservedPort::new(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
        let s3 = Self { program: program.to_owned(), process: Mutex::default(), dir, port, authority };
        s3.resume();
        s3
    }

    /// Starts it again where it was, with what it had.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn resume(&self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.args(["--port", &self.port.address().to_string(), "--region", REGION, "--keep-alive"]);
        if self.authority.is_some() {
            command.arg("--cert").arg(self.dir.path().join("tls.pem"));
            command.arg("--key").arg(self.dir.path().join("tls.key"));
        }
        // What it knows of objects is beside them: not every file system of tests has attributes of its own.
        command
            .arg("posix")
            .arg("--sidecar")
            .arg(self.dir.path().join("meta"))
            .arg(self.dir.path().join("all"));
        let process = command
            .env("ROOT_ACCESS_KEY", KEY_ID)
            .env("ROOT_SECRET_KEY", SECRET)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let mut own = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let process = own.insert(process);
        let until = Instant::now() + START;
        while TcpStream::connect(self.port.address()).is_err() {
            let ended = process.try_wait().unwrap();
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "versitygw: {ended:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, as `kill -9` does.
    ///
    /// # Panics
    ///
    /// When it cannot be killed.
    pub fn kill(&self) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut process) = process {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Its address as a URL.
    pub fn endpoint(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.port.address())
    }

    /// What a client has to trust (PEM), where it has TLS.
    pub fn authority(&self) -> Option<String> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// The names of all objects whose names begin so, as its files have them.
    ///
    /// # Panics
    ///
    /// When its directory cannot be read.
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        let bucket = self.dir.path().join("all").join(BUCKET);
        let mut names = Vec::new();
        let mut left = vec![bucket.clone()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&bucket).unwrap().to_string_lossy().into_owned();
                if path.is_dir() {
                    left.push(path);
                } else if name.starts_with(prefix) {
                    names.push(name);
                }
            }
        }
        names.sort();
        names
    }

    /// The file of an object.
    pub fn object(&self, name: &str) -> PathBuf {
        self.dir.path().join("all").join(BUCKET).join(name)
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RealS3 {
    fn drop(&mut self) {
        self.kill();
    }
}
