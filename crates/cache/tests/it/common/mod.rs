//! A cache that is served, and what a job does with it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use fireactions_cache::{Cache, Clock, Grant, HostClock, Limits, Options, Repository, S3, Scope, router};
use fireactions_model::{MachineId, Secret};
use fireactions_testkit::real_s3::{self, RealS3};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const MAIN: &str = "refs/heads/main";
pub(crate) const VERSION: &str = "0f5e";

/// The host's clocks, and how far a test has moved them, in seconds.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    boot: AtomicI64,
    day: AtomicI64,
}

impl TestClock {
    pub(crate) fn pass(&self, time: Duration) {
        self.boot.fetch_add(time.as_secs().cast_signed(), Ordering::Relaxed);
        self.step(time.as_secs().cast_signed());
    }

    /// Somebody sets the time of day.
    pub(crate) fn step(&self, seconds: i64) {
        self.day.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn boot(&self) -> Duration {
        HostClock.boot() + Duration::from_secs(self.boot.load(Ordering::Relaxed).cast_unsigned())
    }

    fn day(&self) -> SystemTime {
        let seconds = self.day.load(Ordering::Relaxed);
        let moved = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { SystemTime::now() - moved } else { SystemTime::now() + moved }
    }
}

/// Where a cache has its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Files,
    Bucket,
}

/// A bucket of a real server, with nothing of others in it.
pub(crate) fn bucket() -> Option<Arc<RealS3>> {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    Some(Arc::new(RealS3::start(&real_s3::available(&test)?)))
}

/// Who asks for it.
pub(crate) fn client(s3: &RealS3) -> S3 {
    S3 { ca: s3.authority().map(String::into_bytes), ..client_of(s3.endpoint()) }
}

/// The same, of a server of which the address alone is known.
pub(crate) fn client_of(endpoint: String) -> S3 {
    S3 {
        bucket: real_s3::BUCKET.to_owned(),
        endpoint: Some(endpoint),
        region: real_s3::REGION.to_owned(),
        prefix: "shared/ci".to_owned(),
        access_key_id: real_s3::KEY_ID.to_owned(),
        secret_access_key: Secret::new(real_s3::SECRET.to_owned()),
        ca: None,
        virtual_hosted: false,
    }
}

pub(crate) struct World {
    pub(crate) cache: Cache,
    pub(crate) base: String,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) limits: Limits,
    client: Option<S3>,
    s3: Option<Arc<RealS3>>,
    dir: Arc<TempDir>,
    http: reqwest::Client,
    server: tokio::task::JoinHandle<()>,
}

impl World {
    /// Nothing where there is no server for a bucket.
    pub(crate) async fn new(on: On) -> Option<Self> {
        Self::with(on, |_| {}).await
    }

    /// With other limits.
    pub(crate) async fn with(on: On, change: impl FnOnce(&mut Limits)) -> Option<Self> {
        match on {
            On::Files => Some(Self::of_files_with(change).await),
            On::Bucket => Some(Self::of_bucket(&bucket()?, change).await),
        }
    }

    pub(crate) async fn of_files() -> Self {
        Self::of_files_with(|_| {}).await
    }

    pub(crate) async fn of_files_with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::start(new_dir(), (None, None), limits(change), Arc::default()).await
    }

    /// A host that shares this bucket.
    pub(crate) async fn of_bucket(s3: &Arc<RealS3>, change: impl FnOnce(&mut Limits)) -> Self {
        let shared = (Some(client(s3)), Some(s3.clone()));
        Self::start(new_dir(), shared, limits(change), Arc::default()).await
    }

    /// The same, for a server that another process has.
    pub(crate) async fn of_client(client: S3) -> Self {
        Self::start(new_dir(), (Some(client), None), limits(|_| {}), Arc::default()).await
    }

    async fn start(
        dir: Arc<TempDir>,
        (client, s3): (Option<S3>, Option<Arc<RealS3>>),
        limits: Limits,
        clock: Arc<TestClock>,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let options = Options {
            limits: limits.clone(),
            clock: clock.clone(),
            bucket: client.clone(),
            ..Options::new(&dir.path().join("cache"), &base)
        };
        let cache = Cache::open(options).unwrap();
        cache.tend().await.unwrap();
        let service = router(cache.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { cache, base, clock, limits, client, s3, dir, http: reqwest::Client::new(), server }
    }

    /// The next server on the same files.
    pub(crate) async fn restart(self) -> Self {
        self.server.abort();
        Self::start(
            self.dir.clone(),
            (self.client.clone(), self.s3.clone()),
            self.limits.clone(),
            self.clock.clone(),
        )
        .await
    }

    /// The sizes of all contents that are stored, once nothing is on its way out.
    async fn contents(&self) -> Vec<u64> {
        let Some(s3) = &self.s3 else {
            return files(&self.root().join("entries")).into_iter().map(|(_, size)| size).collect();
        };
        self.cache.tend().await.unwrap();
        let objects = s3.objects("shared/ci/v1/content/");
        objects.iter().map(|name| std::fs::metadata(s3.object(name)).unwrap().len()).collect()
    }

    pub(crate) async fn stored(&self) -> usize {
        self.contents().await.len()
    }

    pub(crate) async fn stored_bytes(&self) -> u64 {
        self.contents().await.iter().sum()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub(crate) fn job(&self, number: u64, grant: Grant) -> Job {
        let machine = machine(number);
        let token = self.cache.admit(&machine, grant).expose().to_owned();
        Job { machine, token, base: self.base.clone(), http: self.http.clone() }
    }

    /// A job of which it is not known yet whose it is.
    pub(crate) fn expected(&self, number: u64, address: IpAddr) -> Job {
        let machine = machine(number);
        let token = self.cache.expect(&machine, address).expose().to_owned();
        Job { machine, token, base: self.base.clone(), http: self.http.clone() }
    }

    /// Begins a request that has a body of `announced` bytes, and sends some of it.
    pub(crate) async fn begin(&self, request: &str, announced: u64, some: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.base.strip_prefix("http://").unwrap()).await.unwrap();
        let head = request.replacen('\n', " HTTP/1.1\r\nHost: x\r\n", 1);
        let head = format!("{head}Content-Length: {announced}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(some).await.unwrap();
        stream
    }

    /// A job of `main` of a repository.
    pub(crate) fn main_job(&self, number: u64, repository: &str) -> Job {
        self.job(number, branch(repository, MAIN))
    }
}

fn new_dir() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

/// No test shares its disk with its host's free space.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits { free: 0, ..Limits::default() };
    change(&mut limits);
    limits
}

pub(crate) fn machine(number: u64) -> MachineId {
    MachineId::from_random(number.to_le_bytes())
}

pub(crate) fn branch(repository: &str, reference: &str) -> Grant {
    Grant::branch(Repository(repository.to_owned()), reference, MAIN)
}

pub(crate) fn pull(repository: &str, number: u64) -> Grant {
    Grant::pull_request(Repository(repository.to_owned()), number, Some(MAIN), MAIN)
}

pub(crate) fn read_only(repository: &str) -> Grant {
    Grant {
        repository: Repository(repository.to_owned()),
        reads: vec![Scope(MAIN.to_owned())],
        writes: None,
        address: None,
    }
}

/// A job, and what it says to the cache by hand.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) machine: MachineId,
    pub(crate) token: String,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer's status and words are these.
    pub(crate) fn refuses(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.text().contains(words), "{}", self.text());
    }
}

/// Sends nothing more; what the cache says to that, if anything.
pub(crate) async fn cut(mut stream: TcpStream) -> String {
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said).await;
    said
}

pub(crate) async fn sent(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    Answer {
        status: answer.status(),
        headers: answer.headers().clone(),
        body: answer.bytes().await.unwrap().to_vec(),
    }
}

impl Job {
    pub(crate) fn at(&self, method: Method, address: &str) -> RequestBuilder {
        let address =
            if address.starts_with("http") { address.to_owned() } else { format!("{}{address}", self.base) };
        self.http.request(method, address)
    }

    // Version 2.

    pub(crate) async fn twirp(&self, method: &str, asked: &Value) -> Answer {
        let path = format!("/twirp/github.actions.results.api.v1.CacheService/{method}");
        sent(self.at(Method::POST, &path).bearer_auth(&self.token).json(asked)).await
    }

    /// Begins an upload; its address.
    pub(crate) async fn create(&self, key: &str) -> String {
        let answer = self.twirp("CreateCacheEntry", &json!({"key": key, "version": VERSION})).await;
        let said = answer.json();
        assert_eq!(said["ok"], true, "{said}");
        said["signed_upload_url"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn put(&self, address: &str, more: &str, content: &[u8]) -> Answer {
        sent(self.at(Method::PUT, &format!("{address}{more}")).body(content.to_vec())).await
    }

    pub(crate) async fn finalize(&self, key: &str, size: usize) -> Answer {
        let asked = json!({"key": key, "version": VERSION, "size_bytes": size.to_string()});
        self.twirp("FinalizeCacheEntryUpload", &asked).await
    }

    /// Saves an entry whole.
    pub(crate) async fn save(&self, key: &str, content: &[u8]) {
        let address = self.create(key).await;
        let put = self.put(&address, "", content).await;
        assert_eq!(put.status, 201, "{}", put.text());
        let said = self.finalize(key, content.len()).await;
        assert_eq!(said.json()["ok"], true, "{}", said.text());
    }

    /// What is found by these keys: the key, and the content's address.
    pub(crate) async fn find(&self, keys: &[&str]) -> Option<(String, String)> {
        let asked = json!({"key": keys[0], "restore_keys": keys[1..], "version": VERSION});
        let said = self.twirp("GetCacheEntryDownloadURL", &asked).await.json();
        let text = |name: &str| said[name].as_str().map(ToOwned::to_owned);
        assert!(said["ok"].is_boolean(), "{said}");
        text("matched_key").zip(text("signed_download_url"))
    }

    pub(crate) async fn get(&self, address: &str) -> Answer {
        sent(self.at(Method::GET, address)).await
    }

    /// The content that is found by this key.
    pub(crate) async fn restore(&self, key: &str) -> Option<Vec<u8>> {
        let (_, address) = self.find(&[key]).await?;
        let got = self.get(&address).await;
        assert_eq!(got.status, 200, "{}", got.text());
        Some(got.body)
    }

    // Version 1.

    pub(crate) fn v1(&self, method: Method, resource: &str) -> RequestBuilder {
        self.at(method, &format!("/{}/_apis/artifactcache/{resource}", self.token))
    }

    pub(crate) async fn reserve(&self, key: &str) -> u64 {
        let asked = json!({"key": key, "version": VERSION});
        let answer = sent(self.v1(Method::POST, "caches").json(&asked)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["cacheId"].as_u64().unwrap()
    }

    pub(crate) async fn patch(&self, id: u64, range: &str, content: &[u8]) -> Answer {
        let request = self.v1(Method::PATCH, &format!("caches/{id}"));
        sent(request.header(header::CONTENT_RANGE, range).body(content.to_vec())).await
    }

    /// The head of a request for a range, for [`World::begin`].
    pub(crate) fn range(&self, id: u64, range: &str) -> String {
        let token = &self.token;
        format!("PATCH /{token}/_apis/artifactcache/caches/{id}\nContent-Range: {range}\r\n")
    }

    pub(crate) async fn commit(&self, id: u64, size: usize) -> Answer {
        sent(self.v1(Method::POST, &format!("caches/{id}")).json(&json!({"size": size}))).await
    }
}

/// All files below a directory, and their sizes.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let size = std::fs::metadata(&path).unwrap().len();
            all.push((path, size));
        }
    }
    all
}
