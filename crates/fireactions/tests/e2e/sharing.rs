//! Hosts of a cluster, each in a network of its own, with one NATS, one GitHub and one scale set: real machines, and ways between
//! hosts that can be cut.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fireactions_testkit::github::{FakeGithub, Job, JobId, JobRequest, JobStatus};
use fireactions_testkit::real_nats::{self, NatsSetup, RealNats};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::driver::on_firecracker;
use crate::github::{self, Octo};
use crate::world::{BOOT, Setup, UNTIL_TOLD, World, text};

const NAMES: [&str; 3] = ["one", "two", "three"];
const SOON: Duration = Duration::from_secs(60);

/// A way from a host to NATS.
#[derive(Clone, Default)]
struct Way {
    /// Both ends of each connection; nothing while it is cut.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Way {
    /// From this listener on to this port of the loopback, where it is called.
    fn open(&self, listener: TcpListener, to: u16) {
        *self.streams.lock().unwrap() = Some(Vec::new());
        let streams = Arc::clone(&self.streams);
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let mut known = streams.lock().unwrap();
                let Some(known) = known.as_mut() else { continue };
                let Ok(to) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
                for (from, to) in [(&from, &to), (&to, &from)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    known.push(from.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
    }

    fn cut(&self) {
        for stream in self.streams.lock().unwrap().take().into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        *self.streams.lock().unwrap() = Some(Vec::new());
    }
}

struct Cluster {
    worlds: Vec<World>,
    ways: Vec<Way>,
    fake: FakeGithub,
    _nats: RealNats,
    _files: tempfile::TempDir,
}

impl Cluster {
    fn start(program: &Path) -> Self {
        let Octo { fake, files, pools, more } = Octo::new("127.0.0.1", 2);
        // A session whose holder is gone is missed for long.
        fake.set_session_timeout(Duration::from_secs(3600));
        // Those without a scale set are for a host alone.
        let pools = pools[..pools.find("  - name: small").unwrap()].to_owned();
        let port = 4222;
        let world = |name: &str| {
            let cluster = format!(
                "cluster: {{name: ci, nats: {{urls: [\"nats://127.0.0.1:{port}\"]}}, host: {{name: {name}}}}}\n"
            );
            let more = format!("{more}{cluster}");
            World::new(Setup { pools: pools.clone(), more, ..Setup::default() })
        };
        let mut worlds: Vec<World> = NAMES.iter().map(|name| world(name)).collect();
        // Each host reaches it at its own loopback, and it is in none of their networks.
        let nats = RealNats::start(program, NatsSetup::default());
        let ways: Vec<Way> = worlds
            .iter()
            .map(|world| {
                let way = Way::default();
                way.open(
                    world.namespace.listen(SocketAddr::from(([127, 0, 0, 1], port))),
                    nats.address().port(),
                );
                way
            })
            .collect();
        for world in &mut worlds {
            github::open(&fake, world);
            world.boot();
        }
        Self { worlds, ways, fake, _nats: nats, _files: files }
    }

    fn hosts(&self, of: usize) -> Vec<Value> {
        let output = self.cli(of, &["cluster", "status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["hosts"].as_array().cloned().unwrap_or_default()
    }

    /// Commands that read the configuration, where NATS is.
    fn cli(&self, of: usize, args: &[&str]) -> std::process::Output {
        let config = self.worlds[of].path("config.yaml");
        let program = env!("CARGO_BIN_EXE_fireactions");
        self.worlds[of].in_namespace(&[&[program], args, &["--config", config.to_str().unwrap()]].concat())
    }

    /// The host that listens, by the word of this one. One that was killed is said to for some seconds more.
    fn leader(&self, of: usize, killed: Option<usize>) -> usize {
        self.worlds[of].wait(SOON, "a host to listen", || {
            let hosts = self.hosts(of);
            let leads = |host: &&Value| host["load"]["leads"].as_array().is_some_and(|all| !all.is_empty());
            let index = |host: &Value| NAMES.iter().position(|name| host["host"] == *name);
            hosts.iter().filter(leads).filter_map(index).find(|leader| Some(*leader) != killed)
        })
    }

    fn queue(&self, count: usize, script: &str) -> Vec<JobId> {
        let request = || JobRequest::new("acme/widgets", &["fast"], script);
        (0..count).map(|_| self.fake.queue_job(request())).collect()
    }

    /// Tells jobs to end, on whichever hosts they run, and waits for them.
    fn told(&self, jobs: &[JobId]) {
        self.worlds[0].wait(BOOT * 3, "jobs that are told to end", || {
            for world in &self.worlds {
                for machine in world.machines() {
                    // One that is just beginning, or ending, is asked again.
                    let _ = world.exec(machine["id"].as_str().unwrap(), "touch /tmp/told");
                }
            }
            let completed = |id: &JobId| self.fake.job(*id).status == JobStatus::Completed;
            jobs.iter().all(completed).then_some(())
        });
        self.completed(jobs);
    }

    fn completed(&self, jobs: &[JobId]) {
        let all: Vec<Job> = self.worlds[0].wait(BOOT * 3, "GitHub's jobs to end", || {
            let all: Vec<Job> = jobs.iter().map(|id| self.fake.job(*id)).collect();
            all.iter().all(|job| job.status == JobStatus::Completed).then_some(all)
        });
        for job in &all {
            let well = (job.conclusion.as_deref(), job.runs());
            assert_eq!(well, (Some("success"), 1), "{job:#?}\n{}", self.logs());
        }
        let runners: BTreeSet<&str> = all.iter().filter_map(Job::runner_name).collect();
        assert_eq!(runners.len(), jobs.len(), "no runner had two jobs");
        assert_eq!(self.fake.violations(), Vec::<String>::new());
    }

    fn running(&self, jobs: &[JobId]) {
        self.worlds[0].wait(BOOT, "jobs to run", || {
            let runs = |id: &&JobId| self.fake.job(**id).runner_name().is_some();
            (jobs.iter().filter(runs).count() == jobs.len()).then_some(())
        });
    }

    /// Jobs of GitHub that each host ran or runs.
    fn ran(&self) -> Vec<usize> {
        let of_github = |job: &&Value| job["remote"]["runner"].is_string();
        let count = |world: &World| {
            world.json(&["jobs", "list"]).as_array().unwrap().iter().filter(of_github).count()
        };
        self.worlds.iter().map(count).collect()
    }

    fn logs(&self) -> String {
        let logs = self.worlds.iter().zip(NAMES).map(|(world, name)| format!("{name}:\n{}", world.log()));
        logs.collect::<Vec<String>>().join("\n")
    }
}

#[test]
fn three_hosts_share_one_scale_set_whatever_becomes_of_one_of_them() {
    if on_firecracker() {
        println!("not run on this driver as well: no VMM has a part in it");
        return;
    }
    let Some(program) = real_nats::available("three_hosts_share_one_scale_set") else { return };
    let mut cluster = Cluster::start(&program);
    cluster.worlds[0].wait(SOON, "all hosts to be there", || (cluster.hosts(0).len() == 3).then_some(()));
    let leader = cluster.leader(0, None);

    // No host has room for all of them, and one has to wait for room on any.
    let jobs = cluster.queue(7, UNTIL_TOLD);
    cluster.worlds[leader].wait(SOON, "one job too many to be told of", || {
        let said = text(&cluster.cli(leader, &["cluster", "status"]).stdout);
        said.contains("no host has room for more jobs of pool 'fast': 1 without a host").then_some(())
    });
    // Whoever adds hosts is told by any of them.
    for world in &cluster.worlds {
        world.wait(SOON, "the fleet's metrics", || {
            let metrics = world.get("/metrics");
            let has = |line: &&str| metrics.lines().any(|found| found == *line);
            let lines = [
                "fireactions_fleet_hosts 3",
                "fireactions_fleet_unplaced_jobs{pool=\"fast\"} 1",
                "fireactions_fleet_shortage_vcpus 1",
            ];
            lines.iter().all(has).then_some(())
        });
    }
    cluster.told(&jobs);
    let ran = cluster.ran();
    assert_eq!(ran.iter().sum::<usize>(), 7, "no job had two runners: {ran:?}\n{}", cluster.logs());
    assert!(ran.iter().all(|count| *count > 0), "{ran:?}");

    // Each host answers for the others.
    let other = (leader + 1) % 3;
    let world = &cluster.worlds[leader];
    let listed = text(&world.cli(&["--on", "all", "jobs", "list"]).stdout);
    assert!(NAMES.iter().all(|name| listed.contains(&format!("{name}:\n"))), "{listed}");
    assert_eq!(listed.matches("acme/widgets: ").count(), 7, "{listed}");
    let drained = world.cli(&["drain", NAMES[other], "--reason", "new disk"]);
    assert!(drained.status.success() && text(&drained.stdout).contains("new disk"), "{drained:?}");
    let before = cluster.ran();
    cluster.completed(&cluster.queue(3, "true"));
    let ran = cluster.ran();
    assert_eq!((ran[other], ran.iter().sum::<usize>()), (before[other], 10), "{ran:?}, before {before:?}");
    assert!(world.cli(&["undrain", NAMES[other]]).status.success());
    let refused = text(&world.cli(&["--on", "four", "ps"]).stderr);
    assert!(refused.contains("no host 'four' is in the cluster"), "{refused}");

    // One that is cut off ends what it has, and begins nothing.
    let running = cluster.queue(6, UNTIL_TOLD);
    cluster.running(&running);
    cluster.ways[other].cut();
    let apart = "the cluster cannot be reached, and this host goes on by itself";
    cluster.worlds[other]
        .wait(SOON, "the host to notice", || cluster.worlds[other].log().contains(apart).then_some(()));
    cluster.told(&running);
    let before = cluster.ran();
    cluster.completed(&cluster.queue(3, "true"));
    let ran = cluster.ran();
    assert_eq!((ran[other], ran.iter().sum::<usize>()), (before[other], 19), "{ran:?}, before {before:?}");
    cluster.ways[other].mend();

    // The one that listens is killed with its jobs running, and comes back to them.
    let running = cluster.queue(3, UNTIL_TOLD);
    cluster.running(&running);
    let listens = &mut cluster.worlds[leader];
    listens.signal_server(Signal::SIGKILL);
    listens.server_ended(SOON);
    let waiting = cluster.queue(3, "true");
    cluster.leader(other, Some(leader));
    cluster.completed(&waiting);
    cluster.worlds[leader].boot();
    cluster.told(&running);
    for world in &cluster.worlds {
        // Where the host was missed for so long that a job it was given and had not begun went to another, its runner has none. It is
        // let go after a minute and a half.
        world.wait(BOOT, "all rows to be final", || {
            world.json(&["jobs", "list", "--active"]).as_array().unwrap().is_empty().then_some(())
        });
        let rows = world.json(&["jobs", "list"]);
        let told =
            |job: &Value| job["remote"]["conclusion"] == "success" || job["remote"]["picked_up_at"].is_null();
        assert!(rows.as_array().unwrap().iter().all(told), "{rows}");
    }
    assert_eq!(cluster.ran().iter().sum::<usize>(), 25, "no job had two runners\n{}", cluster.logs());
    let fake = &cluster.fake;
    cluster.worlds[0].wait(SOON, "GitHub to have no runner left", || fake.runners().is_empty().then_some(()));
    for world in cluster.worlds {
        world.finish();
    }
}
