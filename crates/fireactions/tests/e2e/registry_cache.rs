//! The cache of registries with real parts: Debian's docker-registry as the registry and as its cache.

use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fireactions_testkit::busybox;
use fireactions_testkit::real_gitea::wait_for;

use crate::images::registry;
use crate::namespace::Namespace;
use crate::world::text;

/// For what takes moments, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// User `user`, bcrypt of `secret`.
const HTPASSWD: &str = "user:$2b$04$a4TL80m.vUoVUw7LzGyB7.Tz59JWXEEXZEt3.JOUeVLkqW7b3WwjK\n";

/// The cache's addresses: of what it caches for Docker Hub, and for a registry that wants a login.
pub(crate) const HUB: &str = "172.30.0.1:5000";
const CLOSED: &str = "172.30.0.1:5001";

/// The section of a server's configuration for [`before`].
pub(crate) const SECTION: &str = "registry_cache: {enabled: true, program: docker-registry, mirrors: {docker.io: {url: 'http://127.0.0.1:5100'}}}";

/// Shell for a server's namespace: a registry with this image as `docker.io`, and its cache as `fireactions cache run` starts it, but
/// before there is a bridge. They end with the shell.
pub(crate) fn before(image: &str) -> String {
    format!(
        "cat >$DIR/open.yml <<X\nversion: 0.1\nlog: {{level: error}}\n\
         storage: {{filesystem: {{rootdirectory: $DIR/open}}}}\nhttp: {{addr: '127.0.0.1:5100'}}\nX\n\
         setpriv --pdeathsig KILL {registry} serve $DIR/open.yml >$DIR/open.log 2>&1 &\n\
         n=0; until skopeo --insecure-policy copy -q --dest-tls-verify=false {} docker://127.0.0.1:5100/{image}; do \
         n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.2; done 2>>$DIR/open.log\n\
         {} cache render docker-registry --config $DIR/config.yaml |\n\
         sed \"s|172.30.0.1:|0.0.0.0:|; s|/var/cache/fireactions-registry|$DIR/cache|\" >$DIR/cache.yml\n\
         setpriv --pdeathsig KILL {registry} serve $DIR/cache.yml >$DIR/cache.log 2>&1 &",
        busybox::reference(),
        env!("CARGO_BIN_EXE_fireactions"),
        registry = registry(),
    )
}

/// A host with two registries and a cache of them.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) namespace: Namespace,
    pub(crate) open: Child,
    pub(crate) closed: Child,
    pub(crate) cache: Child,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in [&mut self.cache, &mut self.open, &mut self.closed] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for(DEADLINE, what, look)
}

/// A registry that ends with the test.
fn upstream(namespace: &Namespace, dir: &Path, name: &str, port: u16, more: &str) -> Child {
    let file = dir.join(format!("{name}.yml"));
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{more}",
        dir.join(name).display()
    );
    fs::write(&file, config).unwrap();
    let mut command = namespace.command("setpriv");
    command.args(["--pdeathsig", "KILL", &registry(), "serve"]).arg(file).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until something takes connections there.
fn listens(namespace: &Namespace, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    until(&format!("{address} to answer"), || namespace.inside(move || TcpStream::connect(address)).ok());
}

/// `fireactions cache run`, whose log goes on.
fn run(namespace: &Namespace, dir: &Path) -> Child {
    let log = File::options().create(true).append(true).open(dir.join("cache.log")).unwrap();
    let mut command = namespace.command(env!("CARGO_BIN_EXE_fireactions"));
    command.args(["cache", "run", "--config"]).arg(dir.join("config.yaml")).env("TMPDIR", dir);
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

impl Lab {
    /// The cache runs, and waits for the bridge.
    fn new() -> Self {
        Self::with("", |_| String::new())
    }

    /// With more in the section, and what is done before in shell, told the directory of what is cached.
    fn with(more: &str, before: impl FnOnce(&Path) -> String) -> Self {
        let program = format!("program: docker-registry\n  docker_registry_binary: {}\n  {more}", registry());
        Self::of(&program, "", before)
    }

    /// With this program, and the file of a login at the registry that wants one.
    pub(crate) fn of(program: &str, login: &str, before: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let namespace = Namespace::new(&before(&path.join("cache")));
        fs::write(path.join("htpasswd"), HTPASSWD).unwrap();
        let auth =
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.join("htpasswd").display());
        let open = upstream(&namespace, path, "open", 5100, "");
        let closed = upstream(&namespace, path, "closed", 5101, &auth);
        let config = format!(
            "kernel: {{image: /k}}\npools: []\nregistry_cache:\n  enabled: true\n  {program}\n  storage_dir: {}\n  mirrors:\n    \
             docker.io: {{url: 'http://127.0.0.1:5100'}}\n    closed.example: {{url: 'http://127.0.0.1:5101'{login}}}\n",
            path.join("cache").display()
        );
        fs::write(path.join("config.yaml"), config).unwrap();
        // Or the cache finds them away at first, and serves what it has: nothing.
        for registry in ["127.0.0.1:5100", "127.0.0.1:5101"] {
            listens(&namespace, registry);
        }
        let cache = run(&namespace, path);
        Self { dir, namespace, open, closed, cache }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("cache.log")).unwrap()
    }

    /// What the server does, for the cache.
    pub(crate) fn make_bridge(&self) {
        until("the cache to say that it waits", || {
            self.log().contains("waiting for the bridge").then_some(())
        });
        let added = self.namespace.command("ip").args(["addr", "add", "172.30.0.1/22", "dev", "lo"]).status();
        assert!(added.unwrap().success());
    }

    pub(crate) fn answers(&self, address: &str) {
        listens(&self.namespace, address);
    }

    /// Whether Skopeo copies from one place to another, and what it says.
    pub(crate) fn copy(&self, from: &str, to: &str, options: &[&str]) -> (bool, String) {
        let mut command = self.namespace.command("skopeo");
        command.args(["--insecure-policy", "copy", "-q"]).args(options).args([from, to]);
        let output = command.output().unwrap();
        (output.status.success(), text(&output.stderr))
    }

    pub(crate) fn push(&self, address: &str, name: &str, options: &[&str]) {
        self.push_image(&busybox::reference(), address, name, options);
    }

    fn push_image(&self, image: &str, address: &str, name: &str, options: &[&str]) {
        self.answers(address);
        let to = format!("docker://{address}/{name}");
        let (done, said) = self.copy(image, &to, &[&["--dest-tls-verify=false"], options].concat());
        assert!(done, "{said}");
    }

    /// Pushes an image that cannot be made smaller, and is as large as this.
    fn push_large(&self, address: &str, name: &str, bytes: usize) {
        let mut content = vec![0; bytes];
        File::open("/dev/urandom").unwrap().read_exact(&mut content).unwrap();
        let file = self.dir.path().join("large.oci.tar");
        fs::write(&file, busybox::archive(&[busybox::layer_of("blob", &content)])).unwrap();
        self.push_image(&format!("oci-archive:{}", file.display()), address, name, &[]);
    }

    /// The directory of what is cached, which may be a file system of its own.
    fn cached(&self) -> PathBuf {
        self.namespace.root().join(self.dir.path().strip_prefix("/").unwrap()).join("cache")
    }

    /// What the cache says of itself.
    fn status(&self) -> serde_json::Value {
        let text = fs::read(self.cached().join("status.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// As a guest does.
    pub(crate) fn pull(&self, address: &str, name: &str) -> (bool, String) {
        let to = tempfile::tempdir().unwrap();
        self.copy(
            &format!("docker://{address}/{name}"),
            &format!("dir:{}", to.path().display()),
            &["--src-tls-verify=false"],
        )
    }

    /// The status of Docker Hub's cache's answer, and where it says to have it from.
    fn asked(&self, what: &str) -> String {
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
        let mut command = self.namespace.command("curl");
        command.args([
            "-s",
            "--max-time",
            "60",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %header{cache-status}",
        ]);
        let output = command.args(["-H", accept, &format!("http://{HUB}/v2/{what}")]).output().unwrap();
        text(&output.stdout)
    }

    /// The blobs of a registry, the largest last.
    fn blobs(&self, of: &str) -> Vec<PathBuf> {
        let top = self.namespace.root().join(self.dir.path().strip_prefix("/").unwrap());
        let top = top.join(of).join("docker/registry/v2/blobs/sha256");
        let below =
            |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut all: Vec<_> = below(top).flat_map(below).map(|dir| dir.join("data")).collect();
        all.retain(|data| data.exists());
        all.sort_by_key(|data| fs::metadata(data).unwrap().len());
        all
    }

    /// The processes that serve Docker Hub's images without it.
    fn alone(&self) -> Vec<i32> {
        self.programs("docker.io.alone")
    }

    /// The processes that cache this registry.
    fn programs(&self, name: &str) -> Vec<i32> {
        let file = format!("/{name}.yml");
        let mut all = self.namespace.processes();
        all.retain(|(_, line)| {
            line.contains("fireactions-cache-") && line.contains(&file) && !line.contains("cache child")
        });
        all.into_iter().map(|(pid, _)| pid).collect()
    }
}

#[test]
fn images_come_through_the_cache_and_stay_in_it() {
    let mut lab = Lab::new();
    lab.make_bridge();
    lab.push("127.0.0.1:5100", "team/app:v1", &[]);
    lab.push("127.0.0.1:5101", "team/app:v1", &["--dest-creds", "user:secret"]);
    lab.answers(HUB);
    lab.answers(CLOSED);

    // A registry that sends something else than it promised: nobody gets it, and nothing of it is kept.
    let layer = lab.blobs("open").pop().unwrap();
    let whole = fs::read(&layer).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&layer, damaged).unwrap();
    let (pulled, said) = lab.pull(HUB, "team/app:v1");
    assert!(!pulled && said.contains("igest"), "{said}");
    fs::write(&layer, &whole).unwrap();

    // A miss, and what was missed is kept.
    assert_eq!(lab.pull(HUB, "team/app:v1"), (true, String::new()), "{}", lab.log());
    let kept = until("all blobs to be kept", || {
        let kept = lab.blobs("cache/docker.io");
        (kept.len() == lab.blobs("open").len()).then_some(kept)
    });
    assert_eq!(fs::read(kept.last().unwrap()).unwrap(), whole);

    // What was removed for room is fetched again.
    for blob in kept {
        fs::remove_dir_all(blob.parent().unwrap()).unwrap();
    }
    assert_eq!(lab.pull(HUB, "team/app:v1"), (true, String::new()), "{}", lab.log());

    // A registry that wants a login which the cache does not have.
    let (pulled, said) = lab.pull(CLOSED, "team/app:v1");
    assert!(!pulled, "{said}");
    assert_eq!(lab.blobs("cache/closed.example"), Vec::<PathBuf>::new());

    // Without the registry the cache serves what it has, and only that.
    until("all blobs to be kept", || {
        (lab.blobs("cache/docker.io").len() == lab.blobs("open").len()).then_some(())
    });
    lab.open.kill().unwrap();
    lab.open.wait().unwrap();
    assert_eq!(lab.pull(HUB, "team/app:v1"), (true, String::new()), "{}", lab.log());
    assert!(!lab.pull(HUB, "team/app:v2").0);
}

#[test]
fn its_programs_are_kept_running_and_end_with_it() {
    let mut lab = Lab::new();
    lab.answers("127.0.0.1:5100");
    lab.make_bridge();
    lab.answers(HUB);
    let kill =
        |pid: i32| assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    let one = until("one program", || <[i32; 1]>::try_from(lab.programs("docker.io")).ok())[0];
    kill(one);
    let other = until("another program", || lab.programs("docker.io").into_iter().find(|pid| *pid != one));
    lab.answers(HUB);
    assert!(lab.log().contains("signal: 9"), "{}", lab.log());

    // Its files are nobody else's: they may have logins in them.
    let files = fs::read_dir(lab.dir.path()).unwrap().flatten().map(|entry| entry.path());
    let files = files.into_iter().find(|path| path.to_string_lossy().contains("fireactions-cache-")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&files), mode(&files.join("docker.io.yml"))), (0o700, 0o600));

    // Asked to end, it ends them; killed, the kernel does.
    assert!(Command::new("kill").arg(lab.cache.id().to_string()).status().unwrap().success());
    assert_eq!(lab.cache.wait().unwrap().code(), Some(0), "{}", lab.log());
    assert_eq!(lab.programs("docker.io"), Vec::<i32>::new());
    assert!(!Path::new(&format!("/proc/{other}")).exists());
    assert!(!files.exists());

    let mut killed = Lab::new();
    killed.answers("127.0.0.1:5100");
    killed.make_bridge();
    killed.answers(HUB);
    killed.cache.kill().unwrap();
    killed.cache.wait().unwrap();
    until("the programs to end", || killed.programs("docker.io").is_empty().then_some(()));
}

#[test]
fn what_is_to_stay_free_stays_free() {
    const MIB: u64 = 1 << 20;
    let lab = Lab::with("keep_free_mib: 12", |cache| {
        format!("mkdir {0}; mount -t tmpfs -o size=24m cache {0}", cache.display())
    });
    let free = || {
        let disk = rustix::fs::statvfs(lab.cached()).unwrap();
        disk.f_bavail * disk.f_frsize
    };
    let large = || {
        let mut blobs = lab.blobs("cache/docker.io");
        blobs.retain(|blob| blob.metadata().is_ok_and(|found| found.len() > MIB));
        blobs
    };
    lab.make_bridge();
    for tag in 0..4 {
        lab.push_large("127.0.0.1:5100", &format!("team/app:v{tag}"), 3 << 20);
    }
    lab.answers(HUB);
    let mut order = Vec::new();
    for tag in 0..4 {
        assert_eq!(lab.pull(HUB, &format!("team/app:v{tag}")), (true, String::new()), "{}", lab.log());
        let fresh = || large().into_iter().find(|blob| !order.contains(blob));
        order.push(until("it to be kept", fresh));
    }
    // The one that was used longest ago has gone, the newest has not.
    until("room", || (free() >= 12 * MIB).then_some(()));
    let evicted = || lab.status()["evicted_bytes"].as_u64();
    until("to be told of it", || (evicted()? >= 3 * MIB).then_some(()));
    assert!(!order[0].exists() && order[3].exists(), "{}", lab.log());
    assert_eq!(lab.status()["full"], false, "{}", lab.log());

    // Where others take the room, nothing is kept.
    let filler = lab.cached().join("filler");
    fs::write(&filler, vec![7; 13 << 20]).unwrap();
    until("all to go", || (large().is_empty() && lab.status()["full"] == true).then_some(()));
    assert!(lab.log().contains("registry_cache.keep_free_mib"), "{}", lab.log());
    assert_eq!(lab.asked("team/app/manifests/v3"), "503 fireactions; detail=no-room");
    fs::remove_file(filler).unwrap();
    until("room again", || (lab.status()["full"] == false).then_some(()));
    assert_eq!(lab.pull(HUB, "team/app:v0"), (true, String::new()), "{}", lab.log());

    // What does not fit beside it is not even begun.
    lab.push_large("127.0.0.1:5100", "team/large:v1", 16 << 20);
    let (pulled, said) = lab.pull(HUB, "team/large:v1");
    assert!(!pulled && said.contains("503"), "{said}");
    // docker-registry has asked for it by then, and gives up when nobody takes it.
    until("what had come of it to go", || (free() >= 12 * MIB).then_some(()));
}

#[test]
fn what_is_there_is_served_while_the_registry_is_away() {
    let mut lab = Lab::new();
    lab.make_bridge();
    lab.push("127.0.0.1:5100", "team/app:v1", &[]);
    lab.answers(HUB);
    let manifest = "team/app/manifests/v1";
    // Both began together, and the registry may not have answered at first.
    until("a miss", || (lab.asked(manifest) == "200 fireactions; fwd=miss").then_some(()));
    assert_eq!(lab.pull(HUB, "team/app:v1"), (true, String::new()), "{}", lab.log());
    until("all blobs to be kept", || {
        (lab.blobs("cache/docker.io").len() == lab.blobs("open").len()).then_some(())
    });
    assert_eq!(lab.asked(manifest), "200 fireactions; hit");
    let counts = || lab.status()["registries"]["docker.io"].clone();
    until("it to be counted", || {
        (counts()["hits"].as_u64()? >= 1 && counts()["misses"].as_u64()? >= 3).then_some(())
    });
    let before = counts()["upstream_errors"].as_u64().unwrap();
    assert_eq!(counts()["offline"], false);
    assert!(counts()["sent_bytes"].as_u64() > Some(100_000), "{}", counts());

    lab.open.kill().unwrap();
    lab.open.wait().unwrap();
    // The first answers after that are docker-registry's, which asks the registry in vain.
    let offline = "200 fireactions; hit; detail=offline";
    until("it to be noticed", || {
        let _ = lab.asked("team/app/manifests/v2");
        (lab.asked(manifest) == offline).then_some(())
    });
    assert_eq!(lab.pull(HUB, "team/app:v1"), (true, String::new()), "{}", lab.log());
    assert_eq!(lab.asked("team/app/manifests/v2"), "404 fireactions; detail=offline");
    let counts = || lab.status()["registries"]["docker.io"].clone();
    until("it to be told", || {
        (counts()["offline"] == true && counts()["upstream_errors"].as_u64()? > before).then_some(())
    });

    // A cache that starts then serves it, too.
    assert!(Command::new("kill").arg(lab.cache.id().to_string()).status().unwrap().success());
    assert_eq!(lab.cache.wait().unwrap().code(), Some(0), "{}", lab.log());
    lab.cache = run(&lab.namespace, lab.dir.path());
    lab.answers(HUB);
    assert_eq!(
        until("an answer", || Some(lab.asked(manifest)).filter(|said| said.starts_with("200"))),
        offline
    );
    assert_eq!(lab.pull(HUB, "team/app:v1"), (true, String::new()), "{}", lab.log());
    assert!(lab.log().contains("the registry does not answer"), "{}", lab.log());

    lab.open = upstream(&lab.namespace, lab.dir.path(), "open", 5100, "");
    until("the registry to be noticed", || (lab.asked(manifest) == "200 fireactions; hit").then_some(()));
    lab.push("127.0.0.1:5100", "team/other:v1", &[]);
    assert_eq!(lab.pull(HUB, "team/other:v1"), (true, String::new()), "{}", lab.log());
    until("the other program to end", || lab.alone().is_empty().then_some(()));
}

#[test]
fn images_are_pulled_ahead() {
    let mut lab =
        Lab::with("warm: ['team/app:v1', 'docker.io/team/gone:v1', 'closed.example/team/app:v1']", |_| {
            String::new()
        });
    // They are there before the cache is, which waits for the bridge.
    lab.push("127.0.0.1:5100", "team/app:v1", &[]);
    lab.push("127.0.0.1:5101", "team/app:v1", &["--dest-creds", "user:secret"]);
    lab.make_bridge();
    let warm = || {
        until("each image to be tried", || {
            lab.status()["warm"].as_object().filter(|all| all.len() == 3).cloned()
        })
    };
    let known = warm();
    assert_eq!(known["team/app:v1"], serde_json::Value::Null, "{known:?}");
    let why = |image: &str| known[image].as_str().unwrap_or_default().to_owned();
    assert!(why("docker.io/team/gone:v1").contains("404"), "{known:?}");
    assert!(!why("closed.example/team/app:v1").is_empty(), "{known:?}");
    assert!(lab.log().contains("the image could not be pulled ahead"), "{}", lab.log());

    // By the command: each by itself, and what fails is told.
    let warm = |images: &[&str]| {
        let mut command = lab.namespace.command(env!("CARGO_BIN_EXE_fireactions"));
        command.args(["cache", "warm", "--config"]).arg(lab.dir.path().join("config.yaml")).args(images);
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stdout))
    };
    lab.push("127.0.0.1:5100", "team/other:v1", &[]);
    let (code, said) = warm(&["team/other:v1"]);
    assert!(code == Some(0) && said.starts_with("team/other:v1: in the cache (1 layers, "), "{said}");
    let (code, said) = warm(&["team/other:v1", "ghcr.io/a/b:1", "docker.io/team/gone:v1", "oci:/srv/image"]);
    assert_eq!(code, Some(1));
    for line in [
        "team/other:v1: in the cache",
        "ghcr.io/a/b:1: not in the cache: its registry 'ghcr.io' is not cached; name it in registry_cache.mirrors",
        "docker.io/team/gone:v1: not in the cache: the cache answered 404 Not Found for manifests/v1",
        "oci:/srv/image: not in the cache: it is not of a registry",
    ] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line}\n{said}");
    }
    let (code, said) = warm(&[]);
    assert!(
        code == Some(1) && said.contains("\nclosed.example/team/app:v1: not") | said.starts_with("closed"),
        "{said}"
    );

    // The first guest needs no registry.
    until("all blobs to be kept", || {
        (lab.blobs("cache/docker.io").len() == lab.blobs("open").len()).then_some(())
    });
    lab.open.kill().unwrap();
    lab.open.wait().unwrap();
    for image in ["team/app:v1", "team/other:v1"] {
        assert_eq!(lab.pull(HUB, image), (true, String::new()), "{}", lab.log());
    }
    lab.cache.kill().unwrap();
    let _ = lab.cache.wait();
    let mut command = lab.namespace.command(env!("CARGO_BIN_EXE_fireactions"));
    let output =
        command.args(["cache", "warm", "--config"]).arg(lab.dir.path().join("config.yaml")).output().unwrap();
    assert!(text(&output.stdout).contains("is `fireactions cache run` running?"), "{}", text(&output.stdout));
}

#[test]
fn a_registry_that_hangs_is_away_too() {
    let lab = Lab::new();
    lab.make_bridge();
    lab.push("127.0.0.1:5100", "team/app:v1", &[]);
    lab.answers(HUB);
    let manifest = "team/app/manifests/v1";
    until("a hit", || (lab.asked(manifest) == "200 fireactions; hit").then_some(()));
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &lab.open.id().to_string()]).status().unwrap().success());
    };
    // It takes connections still, as the kernel does for it.
    signal("-STOP");
    let begin = Instant::now();
    assert_eq!(lab.asked(manifest), "200 fireactions; hit; detail=offline", "{}", lab.log());
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    signal("-CONT");
    until("the registry to be noticed", || (lab.asked(manifest) == "200 fireactions; hit").then_some(()));
}
