//! A real server, and its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::programs::Programs;
use crate::weight::Weight;

const START_DEADLINE: Duration = Duration::from_secs(180);
const STOP_DEADLINE: Duration = Duration::from_secs(90);

/// What the systemd unit gives the server for the C library's allocator.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"),
];

/// A server's setup: its programs, directory and configuration. Several servers may run there one after another.
#[derive(Clone)]
pub struct Setup {
    fireactions: PathBuf,
    state: PathBuf,
    config: PathBuf,
}

impl Setup {
    /// `more` is the rest of the configuration's YAML.
    pub fn new(programs: &Programs, state: &Path, more: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(state).with_context(|| state.display().to_string())?;
        let setup = Self {
            fireactions: programs.fireactions.clone(),
            state: state.to_owned(),
            config: state.join("config.yaml"),
        };
        let text = format!(
            "state_dir: {}\napi_socket: {}\nagent_path: {}\nkernel: {{image: {}/vmlinuz, modules: {}}}\n{more}",
            state.display(),
            setup.socket().display(),
            programs.agent.display(),
            programs.kernel.display(),
            programs.modules()?.display(),
        );
        fs::write(&setup.config, text)?;
        Ok(setup)
    }

    /// The same with more of the configuration's YAML.
    pub fn with(self, more: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(&self.config)?;
        fs::write(&self.config, text + more)?;
        Ok(self)
    }

    pub fn socket(&self) -> PathBuf {
        self.state.join("api.sock")
    }

    /// Where servers of this setup log.
    pub fn log(&self) -> PathBuf {
        self.state.join("server.log")
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The command line, ready to be given arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.fireactions);
        command.arg("--socket").arg(self.socket()).stdin(Stdio::null());
        command
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("the server's last lines:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

/// A running server; ended when it is dropped without [`Server::stop`].
pub struct Server {
    child: Child,
    setup: Setup,
    weight: Option<Weight>,
}

impl Server {
    /// Starts one and waits until it is ready.
    pub fn start(setup: Setup) -> anyhow::Result<Self> {
        let mut server = Self::begin(setup)?;
        server.until("ready", START_DEADLINE, |server| {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended at its start ({status})");
            }
            Ok(server.run(&["pools", "list"]).is_ok())
        })?;
        Ok(server)
    }

    /// Starts one and does not wait.
    pub fn begin(setup: Setup) -> anyhow::Result<Self> {
        Self::begin_with(setup, &[])
    }

    fn begin_with(setup: Setup, args: &[&str]) -> anyhow::Result<Self> {
        let log = fs::File::options().create(true).append(true).open(setup.log())?;
        // Whoever is killed takes the server along; what becomes of its machines, its configuration says.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(&setup.fireactions)
            .arg("server")
            .arg("--config")
            .arg(&setup.config)
            .args(args)
            .envs(ENVIRONMENT)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| setup.fireactions.display().to_string())?;
        let weight = Weight::make().and_then(|weight| weight.give(child.id()).map(|()| weight));
        let told = |error: &anyhow::Error| eprintln!("the server has the weight of one process: {error:#}");
        Ok(Self { child, setup, weight: weight.inspect_err(told).ok() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The command line, ready to be given arguments.
    pub fn command(&self) -> Command {
        self.setup.command()
    }

    /// What a subcommand prints.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.setup.command().args(args).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fireactions {}: {}", args.join(" "), complaint.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    pub fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.run(&[args, &["--json"]].concat())?)?)
    }

    /// Looks again and again until `done`.
    pub fn until(
        &mut self,
        what: &str,
        deadline: Duration,
        mut done: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
        while !done(self).with_context(|| self.setup.log_tail())? {
            ensure!(Instant::now() < end, "not {what} after {deadline:?}\n{}", self.setup.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Fails if the server has ended by itself.
    pub fn must_live(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended ({status})\n{}", self.setup.log_tail()),
        }
    }

    /// SIGTERM, and waits for a good end.
    pub fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("ending the server")?;
        let mut ended = None;
        self.until("stopped", STOP_DEADLINE, |server| {
            ended = server.child.try_wait()?;
            Ok(ended.is_some())
        })?;
        ensure!(
            ended.is_some_and(|status| status.success()),
            "the server ended badly\n{}",
            self.setup.log_tail()
        );
        Ok(())
    }

    /// A new server of the same setup takes over from this one.
    pub fn replace(mut self) -> anyhow::Result<Self> {
        let mut next = Self::begin_with(self.setup.clone(), &["--replace"])?;
        let mut ended = None;
        self.until("replaced", START_DEADLINE, |server| {
            if let Some(status) = next.child.try_wait()? {
                bail!("the new server ended ({status})");
            }
            ended = server.child.try_wait()?;
            Ok(ended.is_some())
        })?;
        ensure!(ended.is_some_and(|status| status.success()), "the old server ended badly: {ended:?}");
        Ok(next)
    }

    /// SIGKILL: what a crash is to a server. Its setup is there for the next one.
    pub fn crash(mut self) -> anyhow::Result<Setup> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.setup.clone())
    }
}

impl Drop for Server {
    /// Only after an error: the first signal lets idle machines go, the wait is bounded.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let end = Instant::now() + STOP_DEADLINE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = self.child.kill();
        }
        if let Some(weight) = &self.weight {
            weight.remove();
        }
    }
}
