//! Pulling: from Debian's `docker-registry` on loopback, and from a server that misbehaves on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]
#![allow(clippy::type_complexity, reason = "a server's state in one place")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Lab, TestImage, file, quick, read_back, sha256};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use fireactions_image::{ImageError, ImagesConfig, RootImage};
use fireactions_model::{ImageRef, PullPolicy};
use tokio::sync::Notify;

mod forms;
mod mirrors;

struct Registry {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For what takes moments, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// User `user`, bcrypt of `secret`.
const HTPASSWD: &str = "user:$2b$04$a4TL80m.vUoVUw7LzGyB7.Tz59JWXEEXZEt3.JOUeVLkqW7b3WwjK\n";

impl Registry {
    fn start(login: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let auth = if login {
            let path = dir.path().join("htpasswd");
            std::fs::write(&path, HTPASSWD).unwrap();
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path.display())
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n{auth}",
            dir.path().join("data").display()
        );
        let path = dir.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is needed (make setup installs it)");
        let mut registry = Self { child, port: 0, _dir: dir };
        // It takes a port that is free and says which. Its log is read on: it must not wait for a full pipe.
        let log = BufReader::new(registry.child.stderr.take().unwrap());
        let (told, port) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
                    let _ = told.send(digits.parse::<u16>().unwrap());
                }
            }
        });
        registry.port = port.recv_timeout(DEADLINE).expect("docker-registry does not say where it listens");
        registry
    }

    async fn push(&self, image: &TestImage, name: &str, tag: &str, login: Option<&str>) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://127.0.0.1:{}/v2/{name}", self.port);
        let send = |request: reqwest::RequestBuilder| match login {
            Some(login) => request.header("authorization", format!("Basic {login}")).send(),
            None => request.send(),
        };
        for (digest, bytes) in &image.blobs {
            let begin = send(client.post(format!("{base}/blobs/uploads/"))).await.unwrap();
            assert_eq!(begin.status(), 202);
            let location = begin.headers()["location"].to_str().unwrap();
            let put = client.put(format!("{location}&digest={digest}")).body(bytes.clone());
            assert_eq!(send(put).await.unwrap().status(), 201);
        }
        for (version, bytes, kind) in [
            (image.manifest_digest(), image.manifest.clone(), "manifest"),
            (tag.to_string(), image.manifest.clone(), "manifest"),
        ] {
            let put = client
                .put(format!("{base}/manifests/{version}"))
                .header("content-type", format!("application/vnd.oci.image.{kind}.v1+json"))
                .body(bytes);
            let answer = send(put).await.unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        }
    }
}

fn sample() -> TestImage {
    TestImage::new(&[
        vec![file("a", "1"), file("big", (0..400_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>())],
        vec![file("b", "2"), file(".wh.a", "")],
        vec![file("c", "3")],
    ])
}

fn names(root: &RootImage) -> Vec<String> {
    read_back(&root.path)
        .keys()
        .map(|k| String::from_utf8_lossy(k).into_owned())
        .filter(|k| !k.is_empty() && k != ".")
        .collect()
}

#[tokio::test]
async fn a_real_registry() {
    let registry = Registry::start(false);
    let image = sample();
    registry.push(&image, "team/app", "v1", None).await;
    let lab = Lab::new();
    let tag = ImageRef::new(format!("127.0.0.1:{}/team/app:v1", registry.port)).unwrap();
    let root = lab.images.ensure(&tag, PullPolicy::IfNotPresent, None).await.unwrap();
    assert_eq!(names(&root), ["b", "big", "c"]);
    assert_eq!(root.digest.as_str(), image.config_digest);
    let pinned =
        ImageRef::new(format!("127.0.0.1:{}/team/app@{}", registry.port, image.manifest_digest())).unwrap();
    assert_eq!(lab.images.ensure(&pinned, PullPolicy::Always, None).await.unwrap().digest, root.digest);
    // The tag moves: IfNotPresent stays, Always follows.
    let second = TestImage::new(&[vec![file("new", "")]]);
    registry.push(&second, "team/app", "v1", None).await;
    assert_eq!(lab.images.ensure(&tag, PullPolicy::IfNotPresent, None).await.unwrap().digest, root.digest);
    let moved = lab.images.ensure(&tag, PullPolicy::Always, None).await.unwrap();
    assert_eq!(names(&moved), ["new"]);
    let absent = ImageRef::new(format!("127.0.0.1:{}/team/app:nope", registry.port)).unwrap();
    let error = lab.images.ensure(&absent, PullPolicy::IfNotPresent, None).await.unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    let error = lab.images.ensure(&absent, PullPolicy::Never, None).await.unwrap_err();
    assert!(matches!(error, ImageError::NotPresent(_)), "{error}");
    drop(registry);
    // What is pinned and stored needs no registry even with Always; a tag does.
    assert_eq!(lab.images.ensure(&pinned, PullPolicy::Always, None).await.unwrap().digest, root.digest);
    let error = lab.images.ensure(&tag, PullPolicy::Always, None).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
}

fn docker_config(dir: &Path, text: &str) -> ImagesConfig {
    let path = dir.join("config.json");
    std::fs::write(&path, text).unwrap();
    ImagesConfig { docker_config: Some(path), ..quick() }
}

#[tokio::test]
async fn a_registry_with_a_login() {
    let registry = Registry::start(true);
    let login = base64::engine::general_purpose::STANDARD.encode("user:secret");
    registry.push(&sample(), "app", "v1", Some(&login)).await;
    let temp = tempfile::tempdir().unwrap();
    let host = format!("127.0.0.1:{}", registry.port);
    let name = ImageRef::new(format!("{host}/app:v1")).unwrap();
    let right = docker_config(temp.path(), &format!(r#"{{"auths":{{"{host}":{{"auth":"{login}"}}}}}}"#));
    Lab::with(right).images.ensure(&name, PullPolicy::Always, None).await.unwrap();
    for (text, says) in [
        (r#"{"auths":{}}"#.to_string(), "refused access"),
        (format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjp3cm9uZw=="}}}}}}"#), "refused access"),
        (format!(r#"{{"auths":{{"{host}":{{"auth":"%%"}}}}}}"#), "not base64"),
        (format!(r#"{{"credHelpers":{{"{host}":"absent-here"}}}}"#), "docker-credential-absent-here"),
        ("{\n \"auths\": secret".to_string(), "line 2"),
    ] {
        let error = Lab::with(docker_config(temp.path(), &text))
            .images
            .ensure(&name, PullPolicy::Always, None)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(says) && !error.to_string().contains("secret"), "{error}");
    }
}

/// What the misbehaving server does to one path, by the number of the request for it.
type Fault = Arc<dyn Fn(u32, &HeaderMap, &[u8]) -> Option<Response> + Send + Sync>;

#[derive(Clone, Default)]
struct Server {
    files: Arc<Mutex<HashMap<String, (Vec<u8>, String)>>>,
    faults: Arc<Mutex<HashMap<String, Fault>>>,
    counts: Arc<Mutex<HashMap<String, u32>>>,
    seen: Arc<Mutex<Vec<(String, Option<String>)>>>,
    /// How each path was asked for.
    methods: Arc<Mutex<Vec<(Method, String)>>>,
}

async fn serve(State(server): State<Server>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().to_string();
    let range = headers.get(header::RANGE).map(|r| r.to_str().unwrap().to_string());
    server.seen.lock().unwrap().push((uri.to_string(), range.clone()));
    server.methods.lock().unwrap().push((method, path.clone()));
    let count = {
        let mut counts = server.counts.lock().unwrap();
        let count = counts.entry(path.clone()).or_default();
        *count += 1;
        *count
    };
    let Some((bytes, kind)) = server.files.lock().unwrap().get(&path).cloned() else {
        return (StatusCode::NOT_FOUND, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}"#)
            .into_response();
    };
    let fault = server
        .faults
        .lock()
        .unwrap()
        .iter()
        .find(|(p, _)| path.ends_with(p.as_str()))
        .map(|(_, f)| f.clone());
    if let Some(answer) = fault.and_then(|fault| fault(count, &headers, &bytes)) {
        return answer;
    }
    if let Some(from) =
        range.and_then(|r| r.strip_prefix("bytes=").and_then(|r| r.strip_suffix('-').map(String::from)))
    {
        let from: usize = from.parse().unwrap();
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        return (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], bytes[from..].to_vec())
            .into_response();
    }
    let digest = ("docker-content-digest", sha256(&bytes));
    ([(header::CONTENT_TYPE.as_str(), kind), digest], bytes).into_response()
}

/// `sent` bytes of a longer answer, then the connection breaks, or hangs.
fn broken(bytes: &[u8], sent: usize, hang: bool) -> Response {
    let head = Bytes::copy_from_slice(&bytes[..sent]);
    let tail = async move {
        if hang {
            std::future::pending::<()>().await;
        }
        // The server sends what it has whenever there is nothing more for the moment: the head is on its way before the
        // connection breaks.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken on purpose"))
    };
    let stream = futures::StreamExt::chain(
        futures::stream::once(async move { Ok::<_, std::io::Error>(head) }),
        futures::stream::once(tail),
    );
    ([(header::CONTENT_LENGTH, bytes.len().to_string())], Body::from_stream(stream)).into_response()
}

impl Server {
    async fn start(image: &TestImage) -> (Self, u16) {
        let server = Self::default();
        server.add(image);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().fallback(serve).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (server, port)
    }

    /// Adds an image, to which the tag leads from now on.
    fn add(&self, image: &TestImage) {
        let mut files = self.files.lock().unwrap();
        let index_kind = "application/vnd.oci.image.index.v1+json".to_string();
        files.insert("/v2/r/manifests/t".into(), (image.index(), index_kind));
        let kind = "application/vnd.oci.image.manifest.v1+json".to_string();
        files.insert(format!("/v2/r/manifests/{}", image.manifest_digest()), (image.manifest.clone(), kind));
        for (digest, bytes) in &image.blobs {
            let kind = "application/octet-stream".into();
            files.insert(format!("/v2/r/blobs/{digest}"), (bytes.clone(), kind));
        }
    }

    fn fault(
        &self,
        path_end: &str,
        fault: impl Fn(u32, &HeaderMap, &[u8]) -> Option<Response> + Send + Sync + 'static,
    ) {
        self.faults.lock().unwrap().insert(path_end.to_string(), Arc::new(fault));
    }

    fn ranges(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().filter_map(|(_, range)| range.clone()).collect()
    }
}

fn reference(port: u16) -> ImageRef {
    ImageRef::new(format!("localhost:{port}/r:t")).unwrap()
}

#[tokio::test]
async fn resets_stalls_and_server_errors_are_survived_by_resuming() {
    let image = sample();
    let (server, port) = Server::start(&image).await;
    server.fault(&image.blobs[0].0.clone(), |count, _, bytes| match count {
        1 => Some(broken(bytes, 10_000, false)),
        2 => Some(StatusCode::SERVICE_UNAVAILABLE.into_response()),
        3 => Some((StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response()),
        _ => None,
    });
    server.fault("/manifests/t", |count, _, _| (count < 3).then(|| StatusCode::BAD_GATEWAY.into_response()));
    server.fault(&image.blobs[1].0.clone(), |count, _, bytes| (count == 1).then(|| broken(bytes, 0, true)));
    let lab = Lab::new();
    let root = lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert_eq!(names(&root), ["b", "big", "c"]);
    assert!(server.ranges().iter().any(|r| r == "bytes=10000-"), "{:?}", server.ranges());
}

#[tokio::test]
async fn a_pull_takes_up_where_a_dead_one_ended_and_mistrusts_it() {
    let image = sample();
    let (server, port) = Server::start(&image).await;
    let (digest, bytes) = image.blobs[0].clone();
    let lab = Lab::new();
    // Named after the registry, too: another one's beginning is not taken up.
    let from = sha256(format!("http://localhost:{port}").as_bytes());
    let part = format!("{}.{}.part", &digest[7..], &from[7..23]);
    std::fs::write(lab.path("images/blobs").join(&part), &bytes[..20_000]).unwrap();
    lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert_eq!(server.ranges(), ["bytes=20000-"]);
    // A damaged beginning is found out and fetched anew.
    let lab = Lab::new();
    std::fs::write(lab.path("images/blobs").join(&part), vec![9; 20_000]).unwrap();
    lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    // As is a damaged whole one.
    let lab = Lab::new();
    std::fs::write(lab.path("images/blobs").join(&digest[7..]), vec![9; bytes.len()]).unwrap();
    lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert_eq!(sha256(&std::fs::read(lab.path("images/blobs").join(&digest[7..])).unwrap()), digest);
}

#[tokio::test]
async fn a_registry_that_trickles_keeps_no_other_waiting_that_has_the_same_layer() {
    let image = sample();
    let ((slow, slow_port), (_quick, port)) = (Server::start(&image).await, Server::start(&image).await);
    let asked = Arc::new(Notify::new());
    let told = asked.clone();
    slow.fault(&image.blobs[0].0.clone(), move |_, _, bytes| {
        told.notify_one();
        Some(broken(bytes, 1, true))
    });
    let lab = Lab::new();
    let held = {
        let images = lab.images.clone();
        tokio::spawn(async move { images.ensure(&reference(slow_port), PullPolicy::Always, None).await })
    };
    tokio::time::timeout(Duration::from_secs(60), asked.notified()).await.expect("it is asked for the layer");
    lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert!(!held.is_finished(), "the other one waits still");
    held.abort();
}

#[tokio::test]
async fn lies_are_refused() {
    let image = sample();
    let manifest_end = format!("/manifests/{}", image.manifest_digest());
    let other = sample();
    let config_end = other.config_digest.clone();
    let blob_end = image.blobs[0].0.clone();
    let swap = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        Some(bytes.into_response())
    };
    for (end, says) in [
        (manifest_end, "manifest is damaged"),
        (config_end, "config is damaged"),
        (blob_end, "layer is damaged"),
    ] {
        let (server, port) = Server::start(&image).await;
        server.fault(&end, move |_, _, bytes| swap(bytes));
        let lab = Lab::new();
        let error = lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(lab.leftovers().is_empty() && lab.roots() == 0);
        let left = std::fs::read_dir(lab.path("images/blobs")).unwrap().flatten();
        let mut names = left.map(|file| file.file_name().into_string().unwrap());
        let beginning = format!("{}.", &image.blobs[0].0[7..]);
        assert!(!names.any(|name| name.starts_with(&beginning)));
    }
    let (server, port) = Server::start(&image).await;
    server.fault(&image.blobs[0].0.clone(), |_, _, bytes| Some([bytes, b"more"].concat().into_response()));
    let error = Lab::new().images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
    let (server, port) = Server::start(&image).await;
    server.fault("/manifests/t", |_, _, _| Some(vec![b' '; 5 << 20].into_response()));
    let error = Lab::new().images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
    let (server, port) = Server::start(&image).await;
    server.fault("/manifests/t", |_, _, _| {
        Some((StatusCode::FOUND, [(header::LOCATION, "http://192.0.2.1/x")]).into_response())
    });
    let error = Lab::new().images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap_err();
    assert!(error.to_string().contains("without TLS"), "{error}");
}

#[tokio::test]
async fn a_dead_registry_has_a_deadline() {
    let image = sample();
    let (server, port) = Server::start(&image).await;
    server.fault("/manifests/t", |_, _, bytes| Some(broken(bytes, 1, true)));
    let lab = Lab::with(ImagesConfig {
        timeouts: fireactions_image::Timeouts {
            stall: Duration::from_millis(100),
            attempts: 2,
            ..quick().timeouts
        },
        ..quick()
    });
    let name = reference(port);
    let pulled = tokio::time::timeout(DEADLINE, lab.images.ensure(&name, PullPolicy::Always, None)).await;
    let error = pulled.expect("it does not wait for ever").unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { attempts: 2, .. }), "{error}");
    server.fault("/manifests/t", |_, _, _| {
        Some((StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "3600")]).into_response())
    });
    match lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap_err() {
        ImageError::Unreachable { retry_after, .. } => {
            assert_eq!(retry_after, Some(Duration::from_secs(3600)));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn bearer_tokens() {
    let image = sample();
    let (server, port) = Server::start(&image).await;
    let tokens = Arc::new(AtomicU32::new(0));
    let guard = move |_: u32, headers: &HeaderMap, _: &[u8]| {
        let fine = headers.get("authorization").is_some_and(|v| v == "Bearer t0ken");
        let challenge = format!(
            "Bearer realm=\"http://localhost:{port}/token\",service=\"here\",scope=\"repository:r:pull\""
        );
        (!fine).then(|| (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response())
    };
    for end in server.files.lock().unwrap().keys().cloned().collect::<Vec<_>>() {
        server.fault(&end, guard);
    }
    server
        .files
        .lock()
        .unwrap()
        .insert("/token".into(), (br#"{"token":"t0ken"}"#.to_vec(), "application/json".into()));
    let counted = tokens.clone();
    server.fault("/token", move |_, headers, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        // user:secret
        let fine = headers.get("authorization").is_some_and(|v| v == "Basic dXNlcjpzZWNyZXQ=");
        (!fine).then(|| StatusCode::UNAUTHORIZED.into_response())
    });
    let error = Lab::new().images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap_err();
    assert!(matches!(error, ImageError::Denied { .. }), "{error}");
    let temp = tempfile::tempdir().unwrap();
    let config = docker_config(
        temp.path(),
        &format!(r#"{{"auths":{{"http://localhost:{port}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#),
    );
    tokens.store(0, Ordering::Relaxed);
    Lab::with(config).images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert_eq!(tokens.load(Ordering::Relaxed), 1, "the token is used again");
    assert!(
        server
            .seen
            .lock()
            .unwrap()
            .iter()
            .any(|(uri, _)| uri.contains("service=here&scope=repository%3Ar%3Apull"))
    );
}
