//! A process and its API socket, driven by plain requests.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Emulated guests boot within this on however busy a host.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// A Firecracker, or a stand-in, in a directory of its own.
pub(crate) struct Firecracker {
    child: Child,
    pub(crate) dir: PathBuf,
    _own: tempfile::TempDir,
}

impl Firecracker {
    /// Starts it in a new directory, to which its standard output goes as `console`, and in a network namespace of its
    /// own with the taps `fa0` and `fa1` to the guest's 172.30.0.2 and 172.30.4.2. By either, whoever asks 169.254.169.254 there
    /// is told that this is the host's.
    pub(crate) fn start(binary: &Path) -> Self {
        let network = "set -e; for tap in fa0 fa1; do ip tuntap add $tap mode tap; ip link set $tap up; done
            ip addr add 172.30.0.1/22 dev fa0; ip addr add 172.30.4.1/22 dev fa1
            ip link set lo up; ip addr add 169.254.169.254/32 dev lo
            mkdir www; echo the host >www/page
            setpriv --pdeathsig KILL busybox httpd -f -p 169.254.169.254:80 -h www & exec \"$0\" \"$@\"";
        let dir = tempfile::tempdir().unwrap();
        let console = File::create(dir.path().join("console")).unwrap();
        let child = Command::new("unshare")
            .args(["--net", "sh", "-c", network])
            .arg(binary)
            .args(["--id", "m-1", "--api-sock", "api.sock"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        let mut fc = Self { child, dir: dir.path().to_owned(), _own: dir };
        wait("the API socket", || fc.connect().is_ok() || fc.child.try_wait().unwrap().is_some());
        fc
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        // By the directory: a socket's path is short.
        let dir = File::open(&self.dir)?;
        let path = format!("/proc/self/fd/{}/api.sock", std::os::fd::AsRawFd::as_raw_fd(&dir));
        UnixStream::connect(path)
    }

    /// Sends a request; gives the status and the body, `Null` where there is none.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let mut stream = self.connect().unwrap_or_else(|error| panic!("{error}\n{}", self.console()));
        stream.set_read_timeout(Some(LONG)).unwrap();
        let length =
            body.map(|body| format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        let (length, body) = (length.unwrap_or_default(), body.unwrap_or_default());
        let text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n{body}");
        stream.write_all(text.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{method} {path}: '{line}'\n{}", self.console()));
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("Content-Length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Sends a body, which must be taken.
    pub(crate) fn put(&self, path: &str, body: &Value) {
        let answer = self.send("PUT", path, Some(&body.to_string()));
        assert_eq!(answer, (204, Value::Null), "PUT {path} {body}\n{}", self.console());
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) {
        let answer = self.send("PATCH", path, Some(&body.to_string()));
        assert_eq!(answer, (204, Value::Null), "PATCH {path} {body}\n{}", self.console());
    }

    /// Sends a body that must be refused, in these words.
    pub(crate) fn refused(&self, method: &str, path: &str, body: &Value, words: &str) {
        let (status, answer) = self.send(method, path, Some(&body.to_string()));
        let message = answer["fault_message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains(words), "{method} {path} {body}: {status} {answer}");
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, None);
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// What it has said.
    pub(crate) fn console(&self) -> String {
        let text = std::fs::read(self.dir.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        let end = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it still runs\n{}", self.console());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Firecracker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until this is so.
pub(crate) fn wait(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !so() {
        assert!(Instant::now() < end, "waited {LONG:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
