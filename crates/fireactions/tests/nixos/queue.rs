//! The NATS of a cluster as `services.fireactions-queue` has it: judged by the real one, and used by hosts.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fireactions_cluster::{Ends, Identity, Link, Load, Membership, PROTOCOL, Settings, Standing, look};
use fireactions_model::{ClusterHost, ClusterName, Labels};
use fireactions_testkit::real_nats;
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::nix::{pure, repository};

/// Longer than any of this takes on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first block of the guide that begins with these words.
fn printed(begin: &str) -> String {
    let page = fs::read_to_string(repository().join("docs/cluster.md")).unwrap();
    let blocks = page.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1);
    let mut lines = blocks.filter(|block| block.trim_start().starts_with(begin));
    lines.next().unwrap_or_else(|| panic!("docs/cluster.md has no block with {begin}")).to_owned()
}

/// An address of the loopback network for each of some nodes, which no other process has.
fn addresses() -> [String; 3] {
    let pid = std::process::id();
    [1, 2, 3].map(|node| format!("127.{}.{}.{node}", 100 + (pid >> 8) % 100, pid % 256))
}

/// The authority, the certificates and the servers.
struct Lab {
    dir: tempfile::TempDir,
    program: PathBuf,
    nodes: Vec<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

impl Lab {
    fn new(program: PathBuf) -> Self {
        let lab = Self { dir: tempfile::tempdir().unwrap(), program, nodes: Vec::new() };
        // As the guide prints it, with other names.
        let script = printed("openssl req -x509");
        let (make, uses) = script.split_once("\n}\n").unwrap();
        assert!(uses.contains("sign nats-1 ") && uses.contains("sign ci-1 "), "{uses}");
        let mut script =
            format!("set -e\n{make}\n}}\nsign ci-1 DNS:ci-1\nsign ci-2 DNS:ci-2\nsign ci-9 DNS:ci-9\n");
        for (number, address) in addresses().iter().enumerate() {
            let name = format!("nats-{}", number + 1);
            let _ = writeln!(script, "sign {name} DNS:{name}.example.com,IP:{address}");
        }
        let made = Command::new("sh").args(["-c", &script]).current_dir(lab.dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The module's configuration of a node, which is at this address here. `more` are settings, in Nix.
    fn configured(&self, name: &str, address: &str, given: &str, more: &str) -> PathBuf {
        let here = self.dir.path().display();
        let config = pure(&format!(
            r#"queue.config {{
              cfg = queueCfg {{ name = "{name}"; dataDir = "{here}/{name}.store"; {given}
                settings = {{ listen = "{address}:4222"; http = "{address}:8222"; {more} }}; }};
              files = {{ cert = "{here}/{name}.pem"; key = "{here}/{name}.key"; ca = "{here}/ca.pem"; }};
            }}"#
        ));
        let file = self.path(&format!("{name}.json"));
        fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// What NATS says of a configuration, as the unit asks before each start.
    fn check(&self, file: &Path) -> Result<(), String> {
        let judged = Command::new(&self.program).arg("-t").arg("-c").arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&judged.stderr).into_owned();
        if judged.status.success() { Ok(()) } else { Err(said) }
    }

    /// Starts a node, which knows the names of the others.
    fn start(&mut self, name: &str, file: &Path) {
        let hosts = self.path("hosts");
        let lines = addresses();
        let lines =
            lines.iter().enumerate().map(|(number, at)| format!("{at} nats-{}.example.com\n", number + 1));
        fs::write(&hosts, lines.collect::<String>()).unwrap();
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        let script = "mount --bind $0 /etc/hosts; exec \"$1\" -c \"$2\"";
        let node = Command::new("unshare")
            .args(["--mount", "setpriv", "--pdeathsig", "KILL", "sh", "-c", script])
            .arg(&hosts)
            .arg(&self.program)
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("unshare (util-linux) is needed");
        self.nodes.push(node);
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// How the host `name` reaches them, with the certificate of `by`.
    fn settings(&self, name: &str, by: &str, nodes: usize) -> Settings {
        Settings {
            cluster: ClusterName::new("ci").unwrap(),
            host: ClusterHost::new(name).unwrap(),
            urls: addresses()[..nodes].iter().map(|address| format!("tls://{address}:4222")).collect(),
            require_tls: true,
            creds: None,
            ca_file: Some(self.path("ca.pem")),
            certificate: Some((self.path(&format!("{by}.pem")), self.path(&format!("{by}.key")))),
        }
    }
}

/// A host of the cluster, until it is told to stop.
struct Host {
    standing: tokio::sync::watch::Receiver<Standing>,
    ends: Ends,
    task: JoinHandle<()>,
}

impl Host {
    fn join(settings: Settings) -> Self {
        let identity = Identity {
            host: settings.host.clone(),
            instance: settings.host.to_string(),
            run: "r1".to_owned(),
            since: Timestamp::now(),
            version: "1.2.3".to_owned(),
            protocol: PROTOCOL,
            zone: None,
            labels: Labels::new(),
        };
        let membership = Membership::new(settings, identity, Arc::new(Load::default));
        let (standing, ends) = (membership.standing(), Ends::default());
        let task = tokio::spawn(membership.run(ends.clone()));
        Self { standing, ends, task }
    }

    async fn is_member(&mut self, log: impl Fn() -> String) {
        let joined = self.standing.wait_for(|now| *now == Standing::Member);
        let joined = tokio::time::timeout(PATIENCE, joined).await.is_ok();
        assert!(joined, "{:?}\n{}", *self.standing.borrow(), log());
    }

    async fn leave(self) {
        self.ends.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Waits until NATS greets its clients there.
fn greets(address: &str, log: impl Fn() -> String) {
    let until = Instant::now() + PATIENCE;
    let greeting = || {
        let stream = TcpStream::connect((address, 4222)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok().filter(|read| *read > 0)
    };
    while greeting().is_none() {
        assert!(Instant::now() < until, "{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `fireactions cluster check` with what the module of a host renders, and its credentials as systemd hands them over.
fn checked(lab: &Lab) -> String {
    let (here, url) = (lab.dir.path().display(), format!("tls://{}:4222", addresses()[0]));
    let config = pure(&format!(
        r#"config "fireactions" {{ pools = [ {{ name = "p"; }} ];
          cluster = {{ name = "ci"; host.name = "ci-1"; nats = {{ urls = [ "{url}" ];
            tls = {{ caFile = "{here}/ca.pem"; certFile = "{here}/ci-1.pem"; keyFile = "/run/secrets/nats-key"; }}; }}; }}; }}"#
    ));
    let (file, credentials) = (lab.path("config.yaml"), lab.path("credentials"));
    fs::write(&file, config.to_string()).unwrap();
    fs::create_dir_all(&credentials).unwrap();
    fs::copy(lab.path("ci-1.key"), credentials.join("nats-key")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fireactions"))
        .args(["cluster", "check", "--config"])
        .arg(&file)
        .env("CREDENTIALS_DIRECTORY", &credentials)
        .output()
        .unwrap();
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_host_may_do_what_the_guide_lists_and_writes_its_own_key_alone() {
    let page = fs::read_to_string(repository().join("docs/cluster.md")).unwrap();
    let named = ["fireactions-ci", "fireactions-ci-hosts", "fireactions-ci-leases", "fireactions-ci-shares"];
    let listed = |what: &str| {
        let lines = page.lines().filter_map(|line| Some(line.strip_prefix(what)?.trim().to_owned()));
        let mut all: Vec<String> =
            lines.flat_map(|line| named.map(|bucket| line.replace("BUCKET", bucket))).collect();
        for line in &mut all {
            *line = line.replace("CLUSTER", "ci").replace("HOST", "ci-1");
        }
        all.sort();
        all.dedup();
        all
    };
    let ours = |what: &str| {
        let said = pure(&format!(r#"(queue.permissions "ci" "ci-1").{what}"#));
        let mut all: Vec<String> = serde_json::from_value(said).unwrap();
        all.sort();
        all
    };
    let mut publish = listed("publish ");
    let whole = publish.iter_mut().find(|subject| *subject == "$KV.fireactions-ci-hosts.>").unwrap();
    "$KV.fireactions-ci-hosts.ci-1".clone_into(whole);
    publish.sort();
    assert_eq!(ours("publish"), publish);
    assert_eq!(ours("subscribe"), listed("subscribe "));
}

#[test]
fn mistakes_of_the_queue_are_one_message_each() {
    let failing = |given: &str| -> Vec<String> {
        serde_json::from_value(pure(&format!("failingQueue {{ {given} }}"))).unwrap()
    };
    assert_eq!(failing(""), [""; 0]);
    assert_eq!(failing(r#"nodes = [ "a" "b" "c" ];"#), [""; 0]);
    for (given, option, words) in [
        ("hosts = [ ];", "hosts", "nobody may connect"),
        (r#"hosts = [ "ci.1" ];"#, "hosts", "'ci.1' is no name of a host"),
        (r#"hosts = [ "a" "a" ];"#, "hosts", "'a' is there twice"),
        (r#"nodes = [ "a" "b" ];"#, "nodes", "name three, or none"),
        ("tls.keyFile = null;", "tls", "set certFile, keyFile and caFile"),
        ("tls.keyFile = ./flake.nix;", "tls.keyFile", "would be in the Nix store"),
    ] {
        let said = failing(given);
        let option = format!("services.fireactions-queue.{option}: ");
        assert!(
            said.len() == 1 && said[0].starts_with(&option) && said[0].contains(words),
            "{given}: {said:#?}"
        );
    }
}

#[tokio::test]
async fn one_nats_lets_in_the_hosts_of_its_cluster_and_nobody_else() {
    let Some(program) = real_nats::available("one_nats_lets_in_the_hosts_of_its_cluster") else { return };
    let mut lab = Lab::new(program);
    let [address, ..] = addresses();
    let wrong = lab.configured("nats-1", &address, r#"maxStorage = "1GB";"#, "");
    assert!(lab.check(&wrong).is_err(), "NATS finds what is wrong");
    let file = lab.configured("nats-1", &address, "", "");
    lab.check(&file).unwrap();
    lab.start("nats-1", &file);
    let log = || lab.log("nats-1");
    greets(&address, log);

    let mut hosts = ["ci-1", "ci-2"].map(|name| Host::join(lab.settings(name, name, 1)));
    for host in &mut hosts {
        host.is_member(log).await;
    }
    let link = Link::open(&lab.settings("ci-1", "ci-1", 1)).await.unwrap();
    let names = look(&link).await.unwrap().hosts.into_iter().map(|host| host.identity.host.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["ci-1", "ci-2"]);
    let said = checked(&lab);
    assert!(said.starts_with("exit status: 0") && said.contains("everything is in order"), "{said}");

    // One host cannot speak for another, nor for one that is not there.
    let liar = Host::join(lab.settings("ci-3", "ci-1", 1));
    let violation = "Publish Violation";
    until("the violation", async || log().contains(violation).then_some(())).await;
    assert!(log().contains("$KV.fireactions-ci-hosts.ci-3"), "{}", log());
    assert_ne!(*liar.standing.borrow(), Standing::Member);
    // Somebody whom the authority knows, and this cluster does not.
    let refused = Link::open(&lab.settings("ci-9", "ci-9", 1)).await.expect_err("refused").to_string();
    assert!(refused.contains("refuses this host"), "{refused}");
    liar.task.abort();
    for host in hosts {
        host.leave().await;
    }
}

#[tokio::test]
async fn three_nats_keep_what_hosts_say_and_one_of_them_may_go() {
    let Some(program) = real_nats::available("three_nats_keep_what_hosts_say") else { return };
    let mut lab = Lab::new(program);
    let nodes = r#"nodes = [ "nats-1.example.com" "nats-2.example.com" "nats-3.example.com" ];"#;
    for (number, address) in addresses().iter().enumerate() {
        let name = format!("nats-{}", number + 1);
        let file = lab.configured(&name, address, nodes, &format!(r#"cluster.listen = "{address}:6222";"#));
        lab.check(&file).unwrap();
        lab.start(&name, &file);
    }
    let log = || format!("{}\n{}\n{}", lab.log("nats-1"), lab.log("nats-2"), lab.log("nats-3"));
    for address in addresses() {
        greets(&address, log);
    }
    let mut host = Host::join(lab.settings("ci-1", "ci-1", 3));
    host.is_member(log).await;
    // As NATS says it: who has the buckets.
    let kept = || -> Vec<u64> {
        let url = format!("http://{}:8222/jsz?streams=true&config=true", addresses()[1]);
        let said = Command::new("curl").args(["-s", &url]).output().unwrap();
        let said: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
        let streams = said.pointer("/account_details/0/stream_detail").and_then(Value::as_array);
        streams
            .into_iter()
            .flatten()
            .filter_map(|one| one.pointer("/config/num_replicas")?.as_u64())
            .collect()
    };
    assert_eq!(until("the buckets", async || Some(kept()).filter(|all| all.len() == 4)).await, [3; 4]);

    // One of them is gone. What is said goes on to be heard by those that are there.
    let mut gone = lab.nodes.remove(0);
    gone.kill().unwrap();
    gone.wait().unwrap();
    let mut other = lab.settings("ci-2", "ci-2", 3);
    other.urls.remove(0);
    let mut other = Host::join(other);
    let log = || format!("{}\n{}", lab.log("nats-2"), lab.log("nats-3"));
    other.is_member(log).await;
    let mut reader = lab.settings("ci-2", "ci-2", 3);
    reader.urls.remove(0);
    let link = Link::open(&reader).await.unwrap();
    until("both hosts", async || {
        let found = look(&link).await.ok()?;
        (found.hosts.len() == 2).then_some(())
    })
    .await;
    for host in [host, other] {
        host.leave().await;
    }
}
