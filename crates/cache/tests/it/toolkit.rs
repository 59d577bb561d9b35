//! GitHub's own clients: `@actions/cache`, the last one that speaks only the first version of the service, and the newest;
//! and the client of Azure's storage that it uploads with.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fireactions_testkit::actions_toolkit;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::common::*;

const V1: &str = "cache-v1";
pub(crate) const V2: &str = "cache-v2";

/// What runners of GitHub load before each action, so that it finds this cache.
const PRELOAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../forge/src/github/cache.cjs");

/// A job's directory, and the clients in it.
pub(crate) struct Runner {
    packages: PathBuf,
    dir: tempfile::TempDir,
    job: Job,
    pub(crate) url: String,
}

/// What a client said: how each step ended, and all that it printed.
pub(crate) struct Said {
    steps: Vec<Value>,
    pub(crate) log: String,
}

impl Runner {
    pub(crate) fn new(packages: &Path, world: &World, job: Job) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["work", "tmp"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let url = world.cache.url(&job.machine).expose().to_owned();
        Self { packages: packages.to_owned(), dir, job, url }
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.work().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn clean(&self) {
        std::fs::remove_dir_all(self.work()).unwrap();
        std::fs::create_dir(self.work()).unwrap();
    }

    pub(crate) fn step(&self, client: &str, call: &str, args: &Value) -> Value {
        // As runners of Gitea and Forgejo have it, and as GitHub's has it.
        let env = if client == V1 {
            json!({"ACTIONS_CACHE_URL": self.url, "ACTIONS_RUNTIME_TOKEN": "a token of the forge"})
        } else {
            json!({"ACTIONS_RESULTS_URL": format!("{}/", self.job.base), "ACTIONS_RUNTIME_TOKEN": self.job.token, "ACTIONS_CACHE_SERVICE_V2": "1"})
        };
        json!({"client": client, "call": call, "args": args, "env": env})
    }

    pub(crate) fn command(&self) -> tokio::process::Command {
        let mut node = self.node();
        node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/toolkit/drive.mjs")).arg(&self.packages);
        node
    }

    pub(crate) fn node(&self) -> tokio::process::Command {
        let mut node = tokio::process::Command::new("node");
        node.current_dir(self.work())
            .env("GITHUB_WORKSPACE", self.work())
            .env("RUNNER_TEMP", self.dir.path().join("tmp"))
            .env_remove("GITHUB_SERVER_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        node
    }

    pub(crate) async fn run(&self, steps: &[Value]) -> Said {
        Self::drive(self.command(), steps).await
    }

    pub(crate) async fn drive(mut node: tokio::process::Command, steps: &[Value]) -> Said {
        let mut node = node.spawn().unwrap();
        let steps_text = serde_json::to_vec(steps).unwrap();
        node.stdin.take().unwrap().write_all(&steps_text).await.unwrap();
        let output = node.wait_with_output().await.unwrap();
        let log = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let log = log.into_owned();
        let said: Vec<_> = log.lines().filter_map(|line| line.strip_prefix("@@")).collect();
        assert_eq!(said.len(), steps.len(), "{log}");
        Said { steps: said.iter().map(|said| serde_json::from_str(said).unwrap()).collect(), log }
    }
}

impl Said {
    pub(crate) fn values(&self) -> Vec<Value> {
        let value = |step: &Value| {
            assert_eq!(step.get("error"), None, "{}", self.log);
            step["value"].clone()
        };
        self.steps.iter().map(value).collect()
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[tokio::test]
async fn both_clients_save_and_find() {
    both_clients_save_and_find_on(On::Files).await;
}

#[tokio::test]
async fn both_clients_save_and_find_in_a_bucket() {
    both_clients_save_and_find_on(On::Bucket).await;
}

async fn both_clients_save_and_find_on(on: On) {
    let Some(packages) = actions_toolkit::available("toolkit::both_clients_save_and_find") else { return };
    let Some(world) = World::new(on).await else { return };
    let runner = Runner::new(&packages, &world, world.main_job(1, "o/r"));
    let content = noise(3_000_000);
    for client in [V1, V2] {
        runner.write(&format!("{client}/bin"), &content);
        runner.write(&format!("{client}/deep/er/text"), client);
    }
    let paths = |client: &str| json!([client, format!("{client}/none-*"), format!("!{client}/bin.tmp")]);
    let step = |client: &str, call: &str, key: &str, more: &[Value]| {
        let mut args = vec![paths(client), json!(key)];
        args.extend_from_slice(more);
        runner.step(client, call, &json!(args))
    };
    let mut saves = Vec::new();
    for client in [V1, V2] {
        saves.push(step(client, "restoreCache", "deps-1", &[]));
        saves.push(step(client, "saveCache", "deps-1", &[]));
        saves.push(step(client, "saveCache", "deps-2 ü/%2F?&#", &[]));
        saves.push(step(client, "saveCache", "deps-1", &[]));
    }
    let said = runner.run(&saves).await;
    for saved in said.values().chunks(4) {
        assert_eq!(saved[0], Value::Null, "{}", said.log);
        assert!(saved[1].as_i64().unwrap() > 0 && saved[2].as_i64().unwrap() > 0, "{}", said.log);
        assert!(saved[3].as_i64().unwrap() <= 0, "{}", said.log);
    }
    assert!(said.log.contains("another job may be creating this cache"), "{}", said.log);

    runner.clean();
    let mut finds = Vec::new();
    for client in [V1, V2] {
        finds.push(step(
            client,
            "restoreCache",
            "none",
            &[json!(["nothing", "deps-"]), json!({"lookupOnly": true})],
        ));
        finds.push(step(client, "restoreCache", "deps-1", &[]));
    }
    let said = runner.run(&finds).await;
    let newest = "deps-2 ü/%2F?&#";
    assert_eq!(said.values(), [newest, "deps-1", newest, "deps-1"], "{}", said.log);
    for client in [V1, V2] {
        assert_eq!(runner.read(&format!("{client}/deep/er/text")), client.as_bytes());
        assert!(runner.read(&format!("{client}/bin")) == content, "{client}'s content is another one");
    }
    assert!(!said.log.contains("::warning::"), "{}", said.log);

    // A job of another repository finds nothing, and one that may only read is told so.
    let other = Runner::new(&packages, &world, world.main_job(2, "o/other"));
    let reader = Runner::new(&packages, &world, world.job(3, read_only("o/r")));
    reader.write("x", "x");
    let find =
        |runner: &Runner, client| runner.step(client, "restoreCache", &json!([paths(client), "deps-1"]));
    let save = |runner: &Runner, client| runner.step(client, "saveCache", &json!([["x"], "k"]));
    let said = other.run(&[find(&other, V1), find(&other, V2)]).await;
    assert_eq!(said.values(), [Value::Null, Value::Null], "{}", said.log);
    let said = reader.run(&[find(&reader, V2), save(&reader, V1), save(&reader, V2)]).await;
    assert_eq!(said.values(), [json!("deps-1"), json!(-1), json!(-1)], "{}", said.log);
    for words in [
        "creating this cache. More details: ",
        "::warning::Failed to save: Unable to reserve cache with key k. More details: ",
    ] {
        assert!(said.log.contains(&format!("{words}cache write denied: this job may read")), "{}", said.log);
    }
    world.cache.end(&reader.job.machine);
    let said = reader.run(&[find(&reader, V1), find(&reader, V2)]).await;
    assert_eq!(said.values(), [Value::Null, Value::Null], "{}", said.log);
    assert!(said.log.contains("its job has ended"), "{}", said.log);
}

#[tokio::test]
async fn azures_client_uploads_blocks_and_downloads_ranges() {
    let Some(packages) =
        actions_toolkit::available("toolkit::azures_client_uploads_blocks_and_downloads_ranges")
    else {
        return;
    };
    let world = World::of_files().await;
    let runner = Runner::new(&packages, &world, world.main_job(1, "o/r"));
    let address = runner.job.create("k").await;
    let size = 100_000;
    let options = json!({"maxSingleShotSize": 10, "blockSize": 7000, "concurrency": 8});
    let said = runner.run(&[runner.step("azure", "upload", &json!([address, size, options]))]).await;
    said.values();
    assert_eq!(runner.job.finalize("k", size).await.json()["ok"], true);
    let (_, address) = runner.job.find(&["k"]).await.unwrap();
    let expected: Vec<u8> = b"block ".iter().copied().cycle().take(size).collect();
    let steps = [(0, size), (5, 12_345), (size - 1, 1)]
        .map(|(offset, count)| runner.step("azure", "download", &json!([address, offset, count])));
    let said = runner.run(&steps).await;
    for (value, range) in said.values().iter().zip([0..size, 5..12_350, size - 1..size]) {
        assert_eq!(value["contentLength"], size);
        assert!(BASE64_STANDARD.decode(value["bytes"].as_str().unwrap()).unwrap() == expected[range]);
    }
}

/// Clients listen only when they have sent everything, and try again when that fails.
#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_heard() {
    let Some(packages) = actions_toolkit::available("toolkit::a_refusal_in_the_middle_of_an_upload_is_heard")
    else {
        return;
    };
    let world = World::of_files_with(|limits| limits.entry = 1 << 20).await;
    let runner = Runner::new(&packages, &world, world.main_job(1, "o/r"));
    let address = runner.job.create("k").await;
    let whole = json!([address, 16 << 20, {}]);
    let blocks =
        json!([address, 16 << 20, {"maxSingleShotSize": 10, "blockSize": 8 << 20, "concurrency": 2}]);
    let steps = [whole, blocks].map(|args| runner.step("azure", "upload", &args));
    let said = runner.run(&steps).await;
    for step in said.steps {
        let error = step["error"].as_str().unwrap();
        assert!(error.contains("larger than the limit of 1048576 bytes"), "{error}");
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing_and_is_made_again() {
    let Some(packages) = actions_toolkit::available("toolkit::an_upload_that_is_cut_off") else { return };
    let world = World::of_files().await;
    let runner = Runner::new(&packages, &world, world.main_job(1, "o/r"));
    runner.write("data", noise(40 << 20));
    let save = runner.step(V1, "saveCache", &json!([["data"], "k"]));
    let mut node = runner.command().spawn().unwrap();
    let steps = serde_json::to_vec(&[&save]).unwrap();
    node.stdin.take().unwrap().write_all(&steps).await.unwrap();
    // Killed as soon as some of it is there.
    let uploads = world.root().join("uploads");
    let come = async {
        while files(&uploads).iter().all(|(_, size)| *size == 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), come).await.expect("some of the upload");
    node.kill().await.unwrap();
    assert_eq!(runner.job.find(&["k"]).await, None);
    // The same job does it again, and the rest of the first time is gone.
    let said = runner.run(&[save]).await;
    assert!(said.values()[0].as_i64().unwrap() > 0, "{}", said.log);
    assert_eq!(files(&uploads), []);
    assert_eq!(world.cache.entries().len(), 1);
}

#[tokio::test]
async fn many_jobs_save_and_find_at_once() {
    let Some(packages) = actions_toolkit::available("toolkit::many_jobs_save_and_find_at_once") else {
        return;
    };
    let world = World::of_files().await;
    let mut tasks = Vec::new();
    for number in 1..=4 {
        let repository = format!("o/r{}", number % 2);
        let runner = Runner::new(&packages, &world, world.main_job(number, &repository));
        tasks.push(tokio::spawn(async move {
            let client = if number % 3 == 0 { V1 } else { V2 };
            runner.write("data", number.to_string());
            let args = |call: &str| runner.step(client, call, &json!([["data"], format!("key-{number}")]));
            let both = |call: &str| runner.step(client, call, &json!([["data"], "shared"]));
            let said = runner
                .run(&[args("saveCache"), both("saveCache"), args("restoreCache"), both("restoreCache")])
                .await;
            let values = said.values();
            assert_eq!(values[2], format!("key-{number}"), "{}", said.log);
            assert_eq!(values[3], "shared", "{}", said.log);
            values[1].as_i64().unwrap() > 0
        }));
    }
    let mut saved = 0;
    for task in tasks {
        saved += usize::from(task.await.unwrap());
    }
    // One of each repository and version saved what both of it wanted to.
    let shared = world.cache.entries().iter().filter(|entry| entry.place.key.as_str() == "shared").count();
    assert_eq!(saved, shared);
    assert_eq!(world.cache.entries().len(), 4 + shared);
}

/// In blocks, as the newest client sends what is large; a GiB and ten thousand files by both in the long run.
#[tokio::test]
async fn large_caches_go_through() {
    let long = std::env::var_os("FIREACTIONS_LONG").is_some();
    // The newest sends up to 128 MiB in one piece; the old one's pieces are of 32 MiB, and smaller uploads have some.
    let (clients, count, size): (&[_], _, _) =
        if long { (&[V1, V2], 10_000, 1 << 30) } else { (&[V2], 200, 132 << 20) };
    let Some(packages) = actions_toolkit::available("toolkit::large_caches_go_through") else { return };
    let world = World::of_files().await;
    let runner = Runner::new(&packages, &world, world.main_job(1, "o/r"));
    for number in 0..count {
        runner.write(&format!("many/{}/{number}", number % 100), number.to_string());
    }
    let large = noise(size);
    runner.write("large", &large);
    let step = |client: &str, call: &str, path: &str| {
        runner.step(client, call, &json!([[path], format!("{client}-{path}")]))
    };
    for &client in clients {
        let said = runner.run(&[step(client, "saveCache", "many"), step(client, "saveCache", "large")]).await;
        assert!(said.values().iter().all(|id| id.as_i64().unwrap() > 0), "{}", said.log);
    }
    assert_eq!(world.cache.stats().errors, 0);
    for &client in clients {
        runner.clean();
        let said =
            runner.run(&[step(client, "restoreCache", "many"), step(client, "restoreCache", "large")]).await;
        assert_eq!(said.values(), ["many", "large"].map(|path| format!("{client}-{path}")), "{}", said.log);
        assert_eq!(runner.read("many/99/199"), b"199");
        assert!(runner.read("large") == large, "{client}");
    }
}

/// As in a runner of GitHub, which has its own word for where the service is: the cache is found all the same, and nothing else is
/// led away.
#[tokio::test]
async fn a_runner_of_github_that_names_another_service_finds_the_hosts_cache() {
    let Some(packages) = actions_toolkit::available(
        "toolkit::a_runner_of_github_that_names_another_service_finds_the_hosts_cache",
    ) else {
        return;
    };
    let world = World::of_files().await;
    let runner = Runner::new(&packages, &world, world.main_job(1, "o/r"));
    let github = Elsewhere::start().await;
    let results = format!("https://127.0.0.1:{}/", github.port);
    let envs = [
        json!({"ACTIONS_RESULTS_URL": results, "ACTIONS_CACHE_URL": results, "ACTIONS_CACHE_SERVICE_V2": "1"}),
        json!({"ACTIONS_CACHE_URL": results}),
    ];
    for (client, mut env) in [V2, V1].into_iter().zip(envs) {
        env["ACTIONS_RUNTIME_TOKEN"] = "what GitHub alone may see".into();
        env["FIREACTIONS_ACTIONS_CACHE"] = runner.url.clone().into();
        runner.write("kept/file", client);
        let run = async |call: &str, arguments: Value| {
            let step = json!({"client": client, "call": call, "args": arguments, "env": {}});
            let said = Runner::drive(preloaded(runner.command(), &env), &[step]).await;
            said.values().remove(0)
        };
        assert!(run("saveCache", json!([["kept"], client])).await.as_i64().unwrap() > 0);
        runner.clean();
        assert_eq!(run("restoreCache", json!([["kept"], client])).await, client);
        assert_eq!(runner.read("kept/file"), client.as_bytes());
        runner.clean();
    }
    assert_eq!(github.asked(), 0, "what is the cache's went to GitHub");

    // What the workflow's cache mode forbids is for GitHub to refuse.
    let ask = "for (const call of ['GetCacheEntryDownloadURL', 'CreateCacheEntry', 'FinalizeCacheEntryUpload']) {
        const { hostname: host, port } = new URL(process.env.ACTIONS_RESULTS_URL);
        const path = '/twirp/github.actions.results.api.v1.CacheService/' + call;
        require('https').request({ host, port, path, method: 'POST' }, (got) => got.resume()).on('error', () => {}).end('{}');
      }";
    for (mode, refused) in [("read", 2), ("write-only", 1), ("none", 3), ("write", 0)] {
        let before = github.asked();
        let env = json!({"ACTIONS_RESULTS_URL": results, "FIREACTIONS_ACTIONS_CACHE": runner.url, "ACTIONS_CACHE_MODE": mode});
        let done = preloaded(runner.node(), &env).args(["-e", ask]).output().await.unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(github.asked() - before, refused, "{mode}");
    }
    let before = github.asked();

    // An artifact's call, a page of the same host, and what names no host.
    let ask = format!(
        "for (const ask of ['{results}twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact', '{results}'])
           require('https').get(new URL(ask)).on('error', () => {{}});
         require('https').request({{host: '127.0.0.1', port: {}, path: '/twirp/x'}}).on('error', () => {{}}).end();",
        github.port
    );
    let env = json!({"ACTIONS_RESULTS_URL": results, "FIREACTIONS_ACTIONS_CACHE": runner.url});
    let done = preloaded(runner.node(), &env).args(["-e", &ask]).output().await.unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(github.asked() - before, 3);
}

/// The program with these variables, as a runner's script has it begin.
pub(crate) fn preloaded(mut node: tokio::process::Command, env: &Value) -> tokio::process::Command {
    node.env("NODE_OPTIONS", format!("--require {PRELOAD}"));
    node.envs(env.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap())));
    node
}

/// A place that counts who comes, and answers nobody.
struct Elsewhere {
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Elsewhere {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, came) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&came);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { port, came }
    }

    fn asked(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}
