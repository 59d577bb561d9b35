//! The real server and its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Args;

const START_DEADLINE: Duration = Duration::from_secs(180);
const STOP_DEADLINE: Duration = Duration::from_secs(90);

/// A running server; killed when it is dropped without [`Server::stop`].
pub(crate) struct Server {
    child: Child,
    fireactions: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

impl Server {
    /// One pool `bench` of at most ten machines, none of them warm.
    pub(crate) fn start(args: &Args, state: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(state)?;
        let (socket, log, config) =
            (state.join("api.sock"), state.join("server.log"), state.join("config.yaml"));
        fs::write(
            &config,
            format!(
                "state_dir: {state}\napi_socket: {socket}\nagent_path: {agent}\n\
                 kernel: {{image: {kernel}/vmlinuz, modules: {modules}}}\n\
                 vmm: {{cgroup_parent: fireactions-bench}}\nhost: {{vcpus: 16, memory_mib: 8192}}\n\
                 network: {{bridge: fabench1, subnet: 172.31.242.0/24, dns: []}}\n\
                 pools:\n  - name: bench\n    min_runners: 0\n    max_runners: 10\n    disk_size_mib: 2048\n\
                 \x20   deadlines: {{boot: 5m, image: 10m}}\n\
                 \x20   runner: {{image: 'oci-archive:{image}', labels: [bench]}}\n\
                 \x20   firecracker: {{machine_config: {{vcpu_count: 1, mem_size_mib: 256}}}}\n",
                state = state.display(),
                socket = socket.display(),
                agent = args.agent.display(),
                kernel = args.kernel.display(),
                modules = args.modules()?.display(),
                image = args.image().display(),
            ),
        )?;
        let output = fs::File::create(&log)?;
        let child = Command::new(&args.fireactions)
            .arg("server")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| args.fireactions.display().to_string())?;
        let mut server = Self { child, fireactions: args.fireactions.clone(), socket, log };
        server.until("ready", START_DEADLINE, |server| {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended at its start ({status})");
            }
            Ok(server.run(&["pools", "list"]).is_ok())
        })?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What a subcommand prints.
    pub(crate) fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.fireactions);
        let output = command.arg("--socket").arg(&self.socket).args(args).stdin(Stdio::null()).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fireactions {}: {}", args.join(" "), complaint.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(crate) fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.run(&[args, &["--json"]].concat())?)?)
    }

    /// Looks again and again until `done`.
    pub(crate) fn until(
        &mut self,
        what: &str,
        deadline: Duration,
        mut done: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
        while !done(self).with_context(|| self.log_tail())? {
            ensure!(Instant::now() < end, "not {what} after {deadline:?}\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("the server's last lines:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    /// SIGTERM, and waits for a good end.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let mut ended = None;
        self.until("stopped", STOP_DEADLINE, |server| {
            ended = server.child.try_wait()?;
            Ok(ended.is_some())
        })?;
        ensure!(ended.is_some_and(|status| status.success()), "the server ended badly\n{}", self.log_tail());
        Ok(())
    }
}

impl Drop for Server {
    /// Only after an error: the first signal lets idle machines go, the wait is bounded.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            if let Ok(pid) = i32::try_from(self.child.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            let end = Instant::now() + STOP_DEADLINE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = self.child.kill();
        }
    }
}
