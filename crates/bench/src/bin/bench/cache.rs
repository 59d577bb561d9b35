//! The cache of actions: how fast an entry comes back beside a plain file, how many ask at once, and what a large entry takes of
//! the server's memory. In files, and in a bucket of a real S3 server where `scripts/build-s3` has built one.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fireactions_bench::report::{Goal, Report, median, millis, percentile};
use fireactions_bench::server::ENVIRONMENT;
use fireactions_bench::usage;
use fireactions_cache::{Cache, Grant, Limits, Options, Repository, S3, router};
use fireactions_model::{MachineId, Secret};
use fireactions_testkit::port::ReservedPort;
use fireactions_testkit::real_s3::{self, RealS3};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Args;
use crate::hosted::loopback_up;

const SERVE: &str = "child-cache-serve";
/// Jobs that ask at once.
const JOBS: usize = 500;
const MIB: u64 = 1 << 20;
/// Of a small entry, in bytes.
const SMALL: usize = 100_000;
/// Between two looks at the server's memory.
const SAMPLE: Duration = Duration::from_millis(10);

/// The server's side: a cache in a directory, and in a bucket if an endpoint is given. `None` in the parent.
pub(crate) fn child() -> Option<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    (args.first().map(String::as_str) == Some(SERVE)).then(|| match serve(&args[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn serve(args: &[String]) -> anyhow::Result<()> {
    let [directory, endpoint] = args else { bail!("{SERVE} DIRECTORY ENDPOINT") };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let bucket = (!endpoint.is_empty()).then(|| S3 {
            bucket: real_s3::BUCKET.to_owned(),
            endpoint: Some(endpoint.clone()),
            region: real_s3::REGION.to_owned(),
            prefix: "bench".to_owned(),
            access_key_id: real_s3::KEY_ID.to_owned(),
            secret_access_key: Secret::new(real_s3::SECRET.to_owned()),
            ca: None,
            virtual_hosted: false,
        });
        let limits = Limits { free: 0, ..Limits::default() };
        let cache = Cache::open(Options { limits, bucket, ..Options::new(Path::new(directory), &base) })?;
        let job = |number: usize| {
            let machine = MachineId::from_random((number as u64).to_le_bytes());
            let main = "refs/heads/main";
            cache
                .admit(&machine, Grant::branch(Repository("bench/r".to_owned()), main, main))
                .expose()
                .to_owned()
        };
        let tokens: Vec<_> = (1..=JOBS).map(job).collect();
        println!("{}", json!({"address": listener.local_addr()?, "tokens": tokens}));
        let service = router(cache).into_make_service_with_connect_info::<SocketAddr>();
        // Until the parent has gone, or has what it wants.
        let over = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
        tokio::select! {
            served = axum::serve(listener, service) => served?,
            _ = over => {}
        }
        anyhow::Ok(())
    })
}

/// A cache that is served, in a process of its own.
struct Server {
    process: Child,
    address: SocketAddr,
    tokens: Vec<String>,
}

impl Server {
    fn start(directory: &Path, endpoint: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .arg(directory)
            .arg(endpoint)
            .envs(ENVIRONMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("what the cache said")?;
        let address = said["address"].as_str().context("no address")?.parse()?;
        let tokens = serde_json::from_value(said["tokens"].clone())?;
        Ok(Self { process, address, tokens })
    }

    async fn twirp(&self, job: usize, method: &str, asked: &Value) -> anyhow::Result<Value> {
        let (token, body) = (&self.tokens[job], asked.to_string());
        let head = format!(
            "POST /twirp/github.actions.results.api.v1.CacheService/{method} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let said = exchange(self.address, &head).await?;
        let value: Value = serde_json::from_slice(&said)?;
        ensure!(value["ok"] == true, "{method}: {value}");
        Ok(value)
    }

    /// Saves a file as an entry.
    async fn save(&self, key: &str, file: &Path) -> anyhow::Result<()> {
        let asked = json!({"key": key, "version": "v"});
        let created = self.twirp(0, "CreateCacheEntry", &asked).await?;
        let url = created["signed_upload_url"].as_str().context("no address")?.to_owned();
        let file = file.to_owned();
        let size = file.metadata()?.len();
        tokio::task::spawn_blocking(move || {
            curl(&["-f", "-o", "/dev/null", "-T", &file.display().to_string(), &url])
        })
        .await??;
        let asked = json!({"key": key, "version": "v", "size_bytes": size.to_string()});
        self.twirp(0, "FinalizeCacheEntryUpload", &asked).await.map(drop)
    }

    async fn find(&self, job: usize, key: &str) -> anyhow::Result<String> {
        let found = self.twirp(job, "GetCacheEntryDownloadURL", &json!({"key": key, "version": "v"})).await?;
        Ok(found["signed_download_url"].as_str().context("no address")?.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A request, and the body of its answer, which must be a good one.
async fn exchange(address: SocketAddr, request: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await?;
    ensure!(said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said[..said.len().min(300)]));
    let head = said.windows(4).position(|four| four == b"\r\n\r\n").context("no end of the answer's head")?;
    Ok(said.split_off(head + 4))
}

/// Runs curl; what it prints.
fn curl(args: &[&str]) -> anyhow::Result<String> {
    let said = Command::new("curl").args(["-sS", "--max-time", "900"]).args(args).output();
    let said = said.context("curl: run `scripts/setup`")?;
    ensure!(said.status.success(), "curl: {}", String::from_utf8_lossy(&said.stderr));
    Ok(String::from_utf8(said.stdout)?)
}

/// Fetches, and throws away; in MB/s.
async fn fetched(url: &str) -> anyhow::Result<f64> {
    let url = url.to_owned();
    let speed = move || curl(&["-f", "-o", "/dev/null", "-w", "%{speed_download}", &url]);
    let speed: f64 = tokio::task::spawn_blocking(speed).await??.trim().parse()?;
    Ok(speed / 1e6)
}

/// A web server for plain files, and nothing else.
struct Plain {
    process: Child,
    port: ReservedPort,
}

impl Plain {
    async fn start(directory: &Path) -> anyhow::Result<Self> {
        let port = ReservedPort::new("127.0.0.1:0".parse()?);
        let process = Command::new("busybox")
            .args(["httpd", "-f", "-p", &port.address().to_string(), "-h"])
            .arg(directory)
            .spawn()
            .context("busybox: run `scripts/setup`")?;
        let plain = Self { process, port };
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(plain.port.address()).await.is_err() {
            ensure!(Instant::now() < until, "busybox httpd does not listen");
            tokio::time::sleep(SAMPLE).await;
        }
        Ok(plain)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    loopback_up()?;
    in_storage(args, work, "in files", "", report).await?;
    if let Some(program) = real_s3::available("the cache of actions in a bucket") {
        let s3 = RealS3::start(&program);
        in_storage(args, work, "in a bucket", &s3.endpoint(), report).await?;
    }
    Ok(())
}

async fn in_storage(
    args: &Args,
    work: &Path,
    name: &str,
    endpoint: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let directory = work.join("cache");
    std::fs::create_dir(&directory)?;
    let is_bucket = !endpoint.is_empty();
    report.load(&format!("cache of actions {name}"));
    let server = Server::start(&directory.join("own"), endpoint)?;

    // Restored beside a plain file, in turns: whoever is first has the disk's first word.
    let size = if args.quick { 128 * MIB } else { 1024 * MIB };
    let plain = directory.join("plain");
    std::fs::create_dir(&plain)?;
    noise(&plain.join("file"), size)?;
    server.save("large", &plain.join("file")).await?;
    let web = Plain::start(&plain).await?;
    let plain_url = format!("http://{}/file", web.port.address());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..args.times(6, 2) {
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            if side == 0 {
                ours.push(fetched(&server.find(0, "large").await?).await?);
            } else {
                theirs.push(fetched(&plain_url).await?);
            }
        }
    }
    drop(web);
    let (own, other) = (median(&ours), median(&theirs));
    report.row(format!("an entry of {} MiB {name}: restored", size / MIB), own, "MB/s");
    report.row("  a plain file of a web server (busybox), by curl likewise", other, "MB/s");
    if is_bucket {
        report.row("  part of that", own / other, "×");
    } else {
        report.judged("  part of that", own / other, "×", Goal::AtLeast(0.8));
    }

    // All at once, each a job of its own.
    noise(&plain.join("small"), SMALL as u64)?;
    server.save("small", &plain.join("small")).await?;
    let asked = (0..JOBS).map(|job| {
        let server = &server;
        async move {
            let began = Instant::now();
            let url = server.find(job, "small").await?;
            let path = url.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
            let path = path.context("no path")?;
            let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let got = exchange(server.address, &head).await?;
            ensure!(got.len() == SMALL, "{} bytes", got.len());
            anyhow::Ok(millis(began.elapsed()))
        }
    });
    let done = futures::future::join_all(asked).await;
    for error in done.iter().filter_map(|done| done.as_ref().err()).take(3) {
        report.note(format!("a job that asked with {JOBS} others: {error:#}"));
    }
    let mut times: Vec<_> = done.into_iter().flatten().collect();
    times.sort_by(f64::total_cmp);
    let answered = f64::from(u32::try_from(times.len())?);
    report.judged(
        format!("  {JOBS} jobs find and fetch 100 kB at once: answered"),
        answered,
        "jobs",
        Goal::AtLeast(500.0),
    );
    report.row("    each, p50", percentile(&times, 50), "ms");
    report.row("    each, p99", percentile(&times, 99), "ms");

    // Memory while a large one goes in and out.
    let size = if args.quick { 512 * MIB } else { 5120 * MIB };
    let large = plain.join("large");
    File::create(&large)?.set_len(size)?;
    let pid = server.process.id();
    let idle = usage::resident(pid)?;
    let over = AtomicBool::new(false);
    let most = async {
        let mut most = idle;
        while !over.load(Ordering::Relaxed) {
            most = most.max(usage::resident(pid)?);
            tokio::time::sleep(SAMPLE).await;
        }
        anyhow::Ok(most)
    };
    let moved = async {
        let moved = async {
            server.save("huge", &large).await?;
            fetched(&server.find(0, "huge").await?).await
        };
        let moved = moved.await;
        over.store(true, Ordering::Relaxed);
        moved
    };
    let (most, moved) = tokio::join!(most, moved);
    moved?;
    report.row("  server at rest: memory", idle, "MiB");
    report.judged(
        format!("    more while {} MiB are saved and restored", size / MIB),
        most? - idle,
        "MiB",
        Goal::AtMost(64.0),
    );
    drop(server);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// A file that no file system makes smaller.
fn noise(path: &Path, size: u64) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    std::io::copy(&mut File::open("/dev/urandom")?.take(size), &mut file)?;
    Ok(file.flush()?)
}
