//! One server of its own, in a network namespace of its own, driven by the command line as a user would.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use fireactions_testkit::{busybox, cgroups, guest};

use crate::driver::{self, lab_kernel, on_firecracker};
use crate::evidence;
use crate::namespace::Namespace;
use crate::prepared;

/// A machine takes seconds to boot under emulation, and much longer on a host that does other things as well.
pub(crate) const BOOT: Duration = Duration::from_secs(240);

/// How many machines the job was given to.
pub(crate) fn attempts(job: &Value) -> u64 {
    job["attempt"].as_u64().unwrap_or_else(|| panic!("no attempt: {job}"))
}

/// What a test may set; the rest is the same for all.
pub(crate) struct Setup {
    /// YAML of the `pools:` list.
    pub(crate) pools: String,
    /// More YAML at top level.
    pub(crate) more: String,
    /// Shell run in the server's network and mount namespaces before the first server, `$DIR` being the world's own
    /// directory.
    pub(crate) before: String,
    /// The stand-in takes QEMU's place: machines cost next to nothing, and their jobs are played (crates/standin).
    pub(crate) standin: bool,
    /// The server begins with an empty state: it makes images, boot files and templates itself (see [`prepared`]).
    pub(crate) bare: bool,
    /// The guest kernel, as `kernel:`.
    pub(crate) kernel: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            pools: pool("default", 1, 2, ""),
            more: String::new(),
            before: String::new(),
            standin: false,
            bare: false,
            kernel: driver::kernel(),
        }
    }
}

/// A pool of small machines with the test image. `more` is YAML indented by four.
pub(crate) fn pool(name: &str, min: u32, max: u32, more: &str) -> String {
    pool_of(name, min, max, &busybox::reference(), more)
}

/// For a pool whose machines are the first and last of their kind: a template would only be one more beside them.
pub(crate) const NO_TEMPLATE: &str = "    start: boot\n";

/// The same with another image.
pub(crate) fn pool_of(name: &str, min: u32, max: u32, image: &str, more: &str) -> String {
    // QEMU's machines always have one; tests look at what guests say there.
    let console = if on_firecracker() { "      console: true\n" } else { "" };
    let patience = if lab_kernel().is_some() && !more.contains("deadlines:") {
        "    deadlines: {boot: 10m, agent: 5m, online: 5m, silence: 2m}\n"
    } else {
        ""
    };
    format!(
        "  - name: {name}\n    min_runners: {min}\n    max_runners: {max}\n    disk_size_mib: 256\n    \
         runner:\n      image: {image}\n      labels: [{name}]\n    \
         firecracker:\n      machine_config: {{vcpu_count: 1, mem_size_mib: 256}}\n{console}{more}{patience}"
    )
}

/// A running server, its directory and its namespaces. Ends everything, by force if need be, when dropped.
pub(crate) struct World {
    server: Option<Child>,
    pub(crate) namespace: Namespace,
    cgroup: String,
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn start(setup: Setup) -> Self {
        let mut world = Self::new(setup);
        world.boot();
        world
    }

    /// A world without a server yet, for what is to be there before it.
    pub(crate) fn new(Setup { pools, more, before, standin, bare, kernel }: Setup) -> Self {
        assert_eq!(
            nix::unistd::geteuid().as_raw(),
            0,
            "the end-to-end tests make taps and namespaces: run `make test`"
        );
        let dir = tempfile::Builder::new().prefix("fa-").tempdir().unwrap();
        let cgroup = cgroups::parent("e2e");
        let mut config = String::new();
        let state = dir.path().join("state");
        if !bare {
            prepared::lend(&state, !standin);
        }
        writeln!(config, "state_dir: {}", state.display()).unwrap();
        writeln!(config, "api_socket: {}", dir.path().join("api.sock").display()).unwrap();
        writeln!(config, "log_level: debug").unwrap();
        writeln!(config, "agent_path: {}", guest::agent().display()).unwrap();
        writeln!(config, "vmm: {{cgroup_parent: {cgroup}, {}}}", driver::vmm(standin)).unwrap();
        writeln!(config, "kernel: {{{kernel}}}").unwrap();
        writeln!(config, "host: {{vcpus: 8, memory_mib: 8192}}").unwrap();
        if !more.contains("shutdown:") {
            // A test that is killed must not leave jobs running for a server that never comes.
            writeln!(config, "shutdown: {{mode: kill}}").unwrap();
        }
        writeln!(config, "{more}\npools:\n{pools}").unwrap();
        fs::write(dir.path().join("config.yaml"), config).unwrap();
        let before = format!("DIR={}\n{before}", dir.path().display());
        let namespace = Namespace::new(&before);
        driver::programs(&dir.path().join("bin"));
        Self { server: None, namespace, cgroup, dir }
    }

    /// Starts the server (again) and waits until it is ready.
    pub(crate) fn boot(&mut self) {
        self.spawn_server(&[]);
        assert!(self.ready(), "the server ended at its start\n{}", self.log());
    }

    /// Starts a server that kills itself when it comes to a fail point; waits until it is ready, or dead.
    #[cfg(feature = "failpoints")]
    pub(crate) fn boot_until(&mut self, point: &str) {
        self.spawn_server(&[("FIREACTIONS_KILL_AT", point)]);
        self.ready();
    }

    /// Waits for the death of a server that was started to die.
    #[cfg(feature = "failpoints")]
    pub(crate) fn server_died(&mut self, point: &str) {
        let status = self.server_ended(BOOT);
        assert_eq!(status.signal(), Some(9), "the server did not come to {point}\n{}", self.log());
    }

    /// Starts the server with more of an environment and waits until it is ready.
    pub(crate) fn boot_with(&mut self, environment: &[(&str, &str)]) {
        self.spawn_server(environment);
        assert!(self.ready(), "the server ended at its start\n{}", self.log());
    }

    fn spawn_server(&mut self, environment: &[(&str, &str)]) {
        let child =
            self.server_command("config.yaml", environment).spawn().expect("nsenter (util-linux) is needed");
        self.server = Some(child);
    }

    /// A server with this configuration, ready to be given more arguments. What it says goes to the log.
    pub(crate) fn server_command(&self, config: &str, environment: &[(&str, &str)]) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.path("server.log")).unwrap();
        let mut command = self.namespace.command("setpriv");
        command
            // A test that is killed takes its server along.
            .args(["--pdeathsig", "TERM"])
            // As most hosts start programs.
            .args(["prlimit", "--nofile=1024:"])
            .args([env!("CARGO_BIN_EXE_fireactions"), "server", "--config"])
            .arg(self.path(config))
            .env(
                "PATH",
                format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap_or_default()),
            )
            .envs(environment.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    /// The server that counts from now on; gives the one before.
    pub(crate) fn serves_now(&mut self, server: Child) -> Option<Child> {
        self.server.replace(server)
    }

    /// Waits until the server answers: true; or has ended: false.
    fn ready(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if self.cli(&["pools", "list", "--json"]).status.success() {
                return true;
            }
            if self.server.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "the server is not ready after 30 s\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The processes of this world's network namespace, and its VMMs, which have namespaces of their own.
    pub(crate) fn all_processes(&self) -> Vec<(i32, String)> {
        let mut all = self.namespace.processes();
        all.extend(cgroups::processes(&self.cgroup));
        all.sort();
        all.dedup_by_key(|(pid, _)| *pid);
        all
    }

    /// The same, but for the QEMU in which the stand-in for Firecracker has its guest.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let all = self.all_processes().into_iter();
        all.filter(|(_, command)| !(on_firecracker() && command.contains("qemu-system"))).collect()
    }

    /// What the server logged, its last part.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.path("server.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    /// A command of the command line, ready to be given arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fireactions"));
        command.arg("--socket").arg(self.path("api.sock")).stdin(Stdio::null());
        command
    }

    /// Runs the command line to its end.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// Runs the command line, which must succeed, and returns its JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.cli(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}\n{}", text(&output.stderr), self.log());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", text(&output.stdout)))
    }

    /// Queues a shell script as a job and returns its id.
    pub(crate) fn submit(&self, options: &[&str], script: &str) -> String {
        let args = [&["run", "--detach"], options, &["--", "sh", "-c", script]].concat();
        let output = self.cli(&args);
        assert!(output.status.success(), "submit: {}\n{}", text(&output.stderr), self.log());
        let id = text(&output.stdout).trim().to_owned();
        assert_eq!(id.len(), 11, "run --detach prints the job's id: {id:?}");
        id
    }

    pub(crate) fn job(&self, id: &str) -> Value {
        self.json(&["jobs", "show", id])
    }

    /// Waits until the job is in one of the states; returns the job.
    pub(crate) fn wait_job(&self, id: &str, states: &[&str], within: Duration) -> Value {
        self.wait(within, &format!("job {id} to be {states:?}"), || {
            let job = self.job(id);
            states.contains(&job["state"].as_str().unwrap()).then_some(job)
        })
    }

    /// Waits until the job's output holds `wanted`.
    pub(crate) fn wait_log(&self, id: &str, wanted: &str, within: Duration) {
        self.wait(within, &format!("job {id} to print '{wanted}'"), || {
            text(&self.cli(&["jobs", "logs", id]).stdout).contains(wanted).then_some(())
        });
    }

    /// Asks again and again until there is an answer.
    pub(crate) fn wait<T>(&self, within: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let within = if lab_kernel().is_some() { within * 5 } else { within };
        let deadline = Instant::now() + within;
        // Each question costs a process: asked too often, it is the questions that take the time.
        let mut pause = Duration::from_millis(50);
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < deadline, "waited {within:?} for {what}\n{}", self.log());
            std::thread::sleep(pause);
            pause = (pause * 5 / 4).min(Duration::from_secs(1));
        }
    }

    pub(crate) fn machines(&self) -> Vec<Value> {
        self.json(&["ps"]).as_array().unwrap().clone()
    }

    /// Waits until `count` machines of the pool are ready; returns them.
    pub(crate) fn wait_ready(&self, pool: &str, count: usize) -> Vec<Value> {
        self.wait(BOOT, &format!("{count} ready machines in pool {pool}"), || {
            let machines = self.machines().into_iter();
            let ready: Vec<Value> = machines.filter(|m| m["pool"] == pool && m["state"] == "ready").collect();
            (ready.len() >= count).then_some(ready)
        })
    }

    /// Runs a shell script in a machine, named by its id or by its job.
    pub(crate) fn exec(&self, machine: &str, script: &str) -> Output {
        self.cli(&["exec", machine, "--", "sh", "-c", script])
    }

    /// Makes a file in the machine of a job that waits for it (see [`UNTIL_TOLD`]).
    pub(crate) fn tell(&self, job: &str) {
        let told = self.exec(job, "touch /tmp/told");
        assert!(told.status.success(), "{}\n{}", text(&told.stderr), self.log());
    }

    pub(crate) fn server_pid(&self) -> i32 {
        i32::try_from(self.server.as_ref().unwrap().id()).unwrap()
    }

    pub(crate) fn signal_server(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.server_pid()), signal).unwrap();
    }

    /// Waits for the server's end.
    pub(crate) fn server_ended(&mut self, within: Duration) -> ExitStatus {
        let ended = ended(self.server.take().unwrap(), within);
        ended.unwrap_or_else(|| panic!("the server did not end within {within:?}\n{}", self.log()))
    }

    /// Stops the server by SIGTERM, which must end well, and proves that nothing is left.
    pub(crate) fn finish(mut self) {
        self.signal_server(nix::sys::signal::Signal::SIGTERM);
        let status = self.server_ended(Duration::from_secs(60));
        assert!(status.success(), "server: {status:?} signal {:?}\n{}", status.signal(), self.log());
        self.assert_nothing_left();
    }

    /// No process, directory, mount, cgroup, tap, bridge or rule of this server's.
    pub(crate) fn assert_nothing_left(&self) {
        self.assert_no_machine_left();
        assert_eq!(self.rules(), "", "rules are left\n{}", self.log());
        let links = self.in_namespace(&["ip", "-br", "link"]);
        assert!(!text(&links.stdout).contains("fireactions0"), "the bridge is left: {}", text(&links.stdout));
    }

    /// The same of its machines, while a server may run.
    pub(crate) fn assert_no_machine_left(&self) {
        let server = self.server.as_ref().map(|_| self.server_pid());
        let processes = || -> Vec<(i32, String)> {
            self.all_processes().into_iter().filter(|(pid, _)| Some(*pid) != server).collect()
        };
        // A template that is being made is a machine, too, and its tap and rules may go last of all.
        let directories = || fs::read_dir(self.path("state/run")).unwrap().count();
        // The rules for all machines name a pattern.
        let rules = || self.rules().replace("\"fam*\"", "");
        let left = || {
            directories() > 0 || !processes().is_empty() || !self.taps().is_empty() || rules().contains("fam")
        };
        let end = Instant::now() + BOOT;
        while left() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(processes(), vec![], "processes are left\n{}", self.log());
        let run: Vec<_> = fs::read_dir(self.path("state/run")).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(run.is_empty(), "run directories are left: {run:?}\n{}", self.log());
        assert_eq!(self.namespace.new_mounts(), Vec::<String>::new(), "mounts are left");
        assert_eq!(cgroups::below(&self.cgroup), Vec::<PathBuf>::new(), "cgroups are left\n{}", self.log());
        assert_eq!(self.taps(), Vec::<String>::new(), "taps are left\n{}", self.log());
        let rules = rules();
        assert!(!rules.contains("fam"), "rules of machines are left: {rules}");
    }

    /// Runs a command in the server's namespaces.
    pub(crate) fn in_namespace(&self, command: &[&str]) -> Output {
        self.namespace.command(command[0]).args(&command[1..]).output().unwrap()
    }

    /// Names of the machines' taps.
    pub(crate) fn taps(&self) -> Vec<String> {
        let output = self.in_namespace(&["ip", "-o", "link"]);
        let names = text(&output.stdout);
        names
            .lines()
            .filter_map(|line| line.split(": ").nth(1))
            .map(|name| name.split('@').next().unwrap().to_owned())
            .filter(|name| name.starts_with("fam"))
            .collect()
    }

    /// The whole rule set.
    pub(crate) fn rules(&self) -> String {
        text(&self.in_namespace(&["nft", "list", "ruleset"]).stdout)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            evidence::keep(self);
        }
        // A failed test must not leave microVMs running.
        for (pid, _) in self.all_processes() {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Waits for a child's end; nothing if it does not come in time.
pub(crate) fn ended(mut child: Child, within: Duration) -> Option<ExitStatus> {
    if let Some(status) = child.try_wait().unwrap() {
        return Some(status);
    }
    let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let within = Timespec::try_from(within).unwrap();
    let ready = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&within)).unwrap();
    (ready > 0).then(|| child.wait().unwrap())
}

/// Shell that says so and then waits for [`World::tell`].
pub(crate) const UNTIL_TOLD: &str = "echo begun; while [ ! -e /tmp/told ]; do sleep 0.1; done";

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
