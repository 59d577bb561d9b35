//! A real Firecracker process.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fireactions_testkit::skip;
use fireactions_vmm::firecracker::api::{ApiError, Client, Request};
use tempfile::TempDir;

/// One that runs until it is dropped.
pub(crate) struct Real {
    pub(crate) dir: TempDir,
    process: Child,
    pub(crate) client: Client,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, or nothing and a word about it.
pub(crate) fn program(test: &str) -> Option<PathBuf> {
    let program = env::var_os("FIREACTIONS_FIRECRACKER_BIN").map(PathBuf::from);
    if program.is_none() {
        skip::say(skip::Kind::Firecracker, test, "FIREACTIONS_FIRECRACKER_BIN names no Firecracker");
    }
    program
}

impl Real {
    /// Starts one in a directory of its own and waits until it answers. `command` is run in that directory with the
    /// arguments of the API socket behind its own.
    pub(crate) async fn start(mut command: Command) -> Self {
        let dir = TempDir::new().unwrap();
        let mut process = command
            .args(["--api-sock", "api.sock"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("FIREACTIONS_FIRECRACKER_BIN can be started");
        match Client::ready(dir.path().join("api.sock"), Duration::from_secs(20)).await {
            Ok(client) => Self { dir, process, client },
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                panic!("{error}");
            }
        }
    }

    /// Makes a file of zeros in its directory.
    pub(crate) fn file(&self, name: &str, bytes: u64) -> String {
        fs::File::create(self.dir.path().join(name)).unwrap().set_len(bytes).unwrap();
        name.into()
    }

    /// Sends what must succeed.
    pub(crate) async fn done<R: Request>(&self, request: &R) -> R::Answer {
        match self.client.send(request).await {
            Ok(answer) => answer,
            Err(error) => panic!("{error}"),
        }
    }

    /// Firecracker's words for why it will not.
    pub(crate) async fn refusal<R: Request>(&self, request: &R) -> String {
        match self.client.send(request).await {
            Err(ApiError::Refused { status: 400, fault, request: name }) => {
                assert_eq!(name, request.name());
                fault
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("{} was not refused", request.name()),
        }
    }
}
