//! The demo's server and its command line.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Args;

const START_DEADLINE: Duration = Duration::from_secs(180);
const STOP_DEADLINE: Duration = Duration::from_secs(90);

/// A running server.
pub(crate) struct Server {
    child: Child,
    fireactions: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

impl Server {
    pub(crate) fn start(args: &Args) -> anyhow::Result<Self> {
        fs::create_dir_all(&args.state).with_context(|| args.state.display().to_string())?;
        let modules = fs::read_dir(args.kernel.join("lib/modules"))
            .context("the guest kernel's modules; run `make setup`")?
            .flatten()
            .next()
            .context("the guest kernel has no modules; run `make setup`")?
            .path();
        let (socket, log) = (args.state.join("api.sock"), args.state.join("server.log"));
        let config = args.state.join("config.yaml");
        fs::write(
            &config,
            format!(
                "state_dir: {state}\napi_socket: {socket}\nagent_path: {agent}\nlog_level: debug\n\
                 kernel: {{image: {kernel}/vmlinuz, modules: {modules}}}\n\
                 vmm: {{cgroup_parent: fireactions-demo}}\n\
                 network: {{bridge: fademo0, subnet: 172.31.240.0/24, dns: []}}\n\
                 pools:\n  - name: demo\n    min_runners: 2\n    max_runners: 3\n    disk_size_mib: 2048\n\
                 \x20   deadlines: {{boot: 5m, image: 10m}}\n\
                 \x20   runner: {{image: 'oci-archive:{inputs}/image.tar', labels: [demo]}}\n\
                 \x20   firecracker: {{machine_config: {{vcpu_count: 1, mem_size_mib: 512}}}}\n",
                state = args.state.display(),
                socket = socket.display(),
                agent = args.agent.display(),
                kernel = args.kernel.display(),
                modules = modules.display(),
                inputs = args.inputs.display(),
            ),
        )?;
        let output = fs::File::create(&log)?;
        // A demo that is killed takes its server along, which then drains: nothing is left behind then either.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(&args.fireactions)
            .arg("server")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| args.fireactions.display().to_string())?;
        let mut server = Self { child, fireactions: args.fireactions.clone(), socket, log };
        server.wait_until_ready()?;
        server.forget_old_jobs()?;
        Ok(server)
    }

    /// An interrupted demo leaves its queue, as it should; this one wants only its own jobs.
    fn forget_old_jobs(&self) -> anyhow::Result<()> {
        let jobs = self.json(&["jobs", "list", "--active"])?;
        for job in jobs.as_array().into_iter().flatten() {
            let id = job["id"].as_str().context("a job without an id")?;
            self.command().args(["jobs", "cancel", id]).output()?;
        }
        Ok(())
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while self.json(&["pools", "list"]).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at its start ({status}):\n{}", fs::read_to_string(&self.log)?);
            }
            ensure!(Instant::now() < deadline, "the server is not ready after {START_DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    /// Which accelerator the server took, and why.
    pub(crate) fn accelerator(&self) -> anyhow::Result<String> {
        let version = self.json(&["version"])?;
        Ok(version["server"]["accel"].as_str().unwrap_or("accelerator unknown").to_owned())
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.fireactions);
        command.arg("--socket").arg(&self.socket).stdin(Stdio::null());
        command
    }

    pub(crate) fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let output = self.command().args(args).arg("--json").output()?;
        ensure!(
            output.status.success(),
            "fireactions {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// SIGTERM, and waits for a good end.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "the server ended with {status}; its log is {}",
                    self.log.display()
                );
                return Ok(());
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                bail!("the server did not stop within {STOP_DEADLINE:?}; its log is {}", self.log.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
