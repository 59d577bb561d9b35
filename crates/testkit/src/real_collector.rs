//! A real collector of OpenTelemetry, which `scripts/build-collector` built: it takes OTLP by both protocols, and writes what it
//! got into a file, request by request, as OTLP's JSON.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::certificate::Authority;
use crate::port::ReservedPort;
use crate::{fetched, skip};

/// How long it may take to start, on a busy host.
const START: Duration = Duration::from_secs(60);

/// The program; nothing where it is not built, and then it is said that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `collector` and there is none.
pub fn available(test: &str) -> Option<PathBuf> {
    fetched::program("build-collector", skip::Kind::Collector, test)
}

/// One that runs on loopback, with TLS by an authority of its own. It ends when this is dropped.
pub struct RealCollector {
    process: Child,
    dir: tempfile::TempDir,
    grpc: ReservedPort,
    http: ReservedPort,
    authority: Authority,
}

impl RealCollector {
    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start(program: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [grpc, http] = [(); 2].map(|()| ReservedPort::new((Ipv4Addr::LOCALHOST, 0).into()));
        let authority = Authority::new();
        let (certificate, key) = authority.server_pem();
        let file = |name: &str| dir.path().join(name).display().to_string();
        fs::write(file("tls.pem"), certificate).unwrap();
        fs::write(file("tls.key"), key).unwrap();
        let tls = serde_json::json!({"cert_file": file("tls.pem"), "key_file": file("tls.key")});
        let config = serde_json::json!({
            "receivers": {"otlp": {"protocols": {
                "grpc": {"endpoint": grpc.address().to_string(), "tls": tls},
                "http": {"endpoint": http.address().to_string(), "tls": tls},
            }}},
            "exporters": {"lines": {"path": file("traces")}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["lines"]}},
            },
        });
        fs::write(file("config.yaml"), config.to_string()).unwrap();
        let log = fs::File::create(file("log")).unwrap();
        let process = Command::new(program)
            .arg(format!("--config=file:{}", file("config.yaml")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut collector = Self { process, dir, grpc, http, authority };
        let until = Instant::now() + START;
        let listens = |address: SocketAddr| TcpStream::connect(address).is_ok();
        while !(listens(collector.grpc()) && listens(collector.http())) {
            let ended = collector.process.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "the collector: {ended:?}\n{}",
                collector.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        collector
    }

    /// Where it takes gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// Where it takes HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// What a client has to trust (PEM).
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Requests that it took, as OTLP's JSON.
    pub fn taken(&self) -> Vec<Value> {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(self.dir.path().join("traces")) {
            file.read_to_string(&mut text).unwrap();
        }
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for RealCollector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
