//! Servers that are not what they should be: every request ends with an error that says why, in time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fireactions_vmm::firecracker::api::{
    Action, ApiError, Client, Drive, Feature, GetInstance, MmdsContents, PutMmds, SnapshotLoad, Version,
    VsockOverride,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::firecracker_api::asked::Get;

const SOON: Duration = Duration::from_millis(300);

/// What the server does with every connection but the first two, which are the client's making sure that it is there.
#[derive(Clone)]
enum Does {
    /// Answers this and closes.
    Say(Vec<u8>),
    /// Answers this again and again, for ever.
    Flood(&'static str, &'static str),
    /// Reads and never answers.
    Nothing,
    /// Answers this much and then nothing more.
    Stall(&'static str),
    /// Closes at once.
    Close,
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 \r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn version(version: &str) -> Vec<u8> {
    ok(&format!("{{\"firecracker_version\":\"{version}\"}}"))
}

async fn act(mut stream: UnixStream, does: Does) {
    let mut request = [0; 4096];
    if matches!(does, Does::Close) {
        return;
    }
    let _ = stream.read(&mut request).await;
    match does {
        Does::Say(text) => {
            let _ = stream.write_all(&text).await;
            let _ = stream.shutdown().await;
        }
        Does::Flood(start, more) => {
            let _ = stream.write_all(start.as_bytes()).await;
            while stream.write_all(more.as_bytes()).await.is_ok() {}
        }
        Does::Stall(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            std::future::pending::<()>().await;
        }
        Does::Nothing => std::future::pending().await,
        Does::Close => {}
    }
}

/// A server of its own for each test; it ends with the test's runtime.
fn serve(first: Vec<u8>, then: Does) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("api.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let does = match number {
                // Only connects.
                0 => Does::Close,
                1 => Does::Say(first.clone()),
                _ => then.clone(),
            };
            tokio::spawn(act(stream, does));
        }
    });
    (dir, path)
}

async fn client(then: Does) -> (TempDir, Client) {
    let (dir, path) = serve(version("1.16.1"), then);
    (dir, Client::ready(path, Duration::from_secs(5)).await.unwrap())
}

/// The error of one request, which must come within its deadline and a bit.
async fn error(then: Does) -> ApiError {
    let (_dir, client) = client(then).await;
    let began = Instant::now();
    let error = client.send_within(&GetInstance, SOON).await.unwrap_err();
    assert!(began.elapsed() < SOON + Duration::from_secs(60), "{error} after {:?}", began.elapsed());
    let said = error.to_string();
    assert!(said.len() < 7000 && !said.contains(|c: char| c.is_control()), "{said:?}");
    error
}

#[tokio::test]
async fn garbage_is_a_protocol_error() {
    for garbage in [
        "\0\u{1b}[2J\u{1b}]garbage\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 \r\n: x\r\n\r\n",
    ] {
        let error = error(Does::Say(garbage.into())).await;
        assert!(matches!(error, ApiError::Protocol { .. }), "{garbage:?}: {error:?}");
        assert!(error.to_string().contains("GET /"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_is_a_protocol_error() {
    for body in ["", "null", "[]", "{}", "{\"app_name\":1}", "not json", "{\"state\":\"Sleeping\"}"] {
        let error = error(Does::Say(ok(body))).await;
        assert!(matches!(error, ApiError::Protocol { .. }), "{body:?}: {error:?}");
    }
    let error = error(Does::Say(
        b"HTTP/1.1 302 \r\nLocation: http://elsewhere\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ))
    .await;
    assert!(error.to_string().contains("302"), "{error}");
}

#[tokio::test]
async fn silence_is_a_timeout() {
    for does in [
        Does::Nothing,
        Does::Stall("HTTP/1.1 200 \r\nContent-Length: 10\r\n\r\n{\"a"),
        Does::Stall("HTTP/1.1 2"),
    ] {
        let error = error(does).await;
        assert!(matches!(error, ApiError::Timeout { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_closed_connection_is_told_apart_from_silence() {
    for does in [
        Does::Close,
        Does::Say(Vec::new()),
        Does::Say(b"HTTP/1.1 200 \r\nContent-Length: 100\r\n\r\n{".to_vec()),
    ] {
        let error = error(does).await;
        assert!(matches!(error, ApiError::Protocol { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn endless_answers_are_cut_off() {
    let chunked = "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n";
    let (_dir, client) = client(Does::Flood(chunked, "10\r\n0123456789abcdef\r\n")).await;
    let error = client.send(&GetInstance).await.unwrap_err();
    assert!(matches!(error, ApiError::TooLarge { limit: 1_048_576, .. }), "{error:?}");

    let declared = error_of_length("99999999999").await;
    assert!(matches!(declared, ApiError::TooLarge { .. }), "{declared:?}");

    let headers = self::error(Does::Flood("HTTP/1.1 200 \r\n", "X-More: 0123456789\r\n")).await;
    assert!(matches!(headers, ApiError::Protocol { .. }), "{headers:?}");

    // Interim answers have no end and no size.
    let interim = self::error(Does::Flood("", "HTTP/1.1 100 Continue\r\n\r\n")).await;
    assert!(matches!(interim, ApiError::Timeout { .. } | ApiError::Protocol { .. }), "{interim:?}");
}

async fn error_of_length(length: &str) -> ApiError {
    error(Does::Say(format!("HTTP/1.1 200 \r\nContent-Length: {length}\r\n\r\n").into_bytes())).await
}

#[tokio::test]
async fn a_refusal_has_firecrackers_words_made_printable() {
    let refusal = |body: &str| {
        Does::Say(format!("HTTP/1.1 400 \r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    };
    let (_dir, client) = client(refusal("{\"fault_message\":\"no such \\u001b[31mfile\"}")).await;
    let error = client.send(&Drive::new("root", "root.img", true)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Firecracker refused PUT /drives/root (status 400): no such \u{fffd}[31mfile"
    );
    for (body, said) in [("", "it gave no reason"), ("plain words", "plain words"), ("{}", "{}")] {
        let error = self::error(refusal(body)).await;
        assert!(matches!(&error, ApiError::Refused { status: 400, fault, .. } if fault == said), "{error:?}");
    }
    self::error(refusal(&format!("{{\"fault_message\":\"{}\"}}", "x".repeat(100_000)))).await;
}

#[tokio::test]
async fn a_socket_nobody_listens_on_is_waited_for_until_the_deadline() {
    let dir = TempDir::new().unwrap();
    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    for path in [dir.path().join("none.sock"), stale] {
        let began = Instant::now();
        let error = Client::ready(path, SOON).await.unwrap_err();
        assert!(matches!(error, ApiError::NotReady { .. }), "{error:?}");
        assert!(began.elapsed() < SOON + Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_socket_that_cannot_be_used_is_not_waited_for() {
    let error =
        Client::ready(Path::new("/dev/null/x").to_owned(), Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, ApiError::Connect(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_opens_late_is_found() {
    let dir = TempDir::new().unwrap();
    let (path, late) = (dir.path().join("api.sock"), dir.path().join("late"));
    let opens = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (keep, real) = serve(version("1.17.0-dev"), Does::Nothing);
        std::os::unix::fs::symlink(real, &late).unwrap();
        std::fs::rename(&late, &path).unwrap();
        keep
    };
    let (client, _keep) = tokio::join!(Client::ready(path.clone(), Duration::from_secs(10)), opens);
    assert_eq!(client.unwrap().version(), Version::new(1, 17, 0));
}

#[tokio::test]
async fn a_version_that_is_none_or_too_old_ends_it() {
    let (_dir, path) = serve(version("1.4.1"), Does::Nothing);
    let error = Client::ready(path, Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(error, ApiError::TooOld(_)) && error.to_string().contains("1.5.0"), "{error}");
    let (_dir, path) = serve(version("newest"), Does::Nothing);
    let error = Client::ready(path, Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(error, ApiError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn what_a_version_lacks_is_refused_before_anything_is_sent() {
    // A server that never answers: had anything been sent, this would be a timeout.
    let (_dir, path) = serve(version("1.15.1"), Does::Nothing);
    let client = Client::ready(path, Duration::from_secs(5)).await.unwrap();
    assert!(client.version().has(Feature::NetworkOverrides));
    let mut load = SnapshotLoad::new("state", "memory");
    load.vsock_override = Some(VsockOverride { uds_path: "v.sock".into() });
    let error = client.send_within(&load, SOON).await.unwrap_err();
    assert!(matches!(error, ApiError::Unsupported { feature: Feature::VsockOverride, .. }), "{error:?}");
    assert!(error.to_string().contains("1.15.1") && error.to_string().contains("1.16.0"), "{error}");
    let error = client.send_within(&Drive::new("../actions", "x", true), SOON).await.unwrap_err();
    assert!(matches!(error, ApiError::Invalid { .. }), "{error:?}");
}

#[tokio::test]
async fn metadata_is_shown_nowhere() {
    let (_dir, client) = client(Does::Nothing).await;
    let mut contents = MmdsContents::default();
    contents.0.insert("token".into(), "SECRET".into());
    assert!(!format!("{contents:?}").contains("SECRET"));
    let error = client.send_within(&PutMmds(contents.clone()), SOON).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("SECRET"));
    contents.0.insert("more".into(), "x".repeat(60_000).into());
    let error = client.send_within(&PutMmds(contents), SOON).await.unwrap_err();
    assert!(matches!(error, ApiError::Invalid { .. }) && error.to_string().contains("51200"), "{error}");
}

#[tokio::test]
async fn requests_are_independent_of_each_other() {
    let (_dir, client) = client(Does::Say(ok("{\"a\":\"b\"}"))).await;
    let get = Get("/mmds");
    let (one, two, three) = tokio::join!(client.send(&get), client.send(&get), client.send(&get));
    for answer in [one, two, three] {
        assert_eq!(answer.unwrap()["a"], "b");
    }
    assert!(matches!(client.send(&Action::FlushMetrics).await, Err(ApiError::Protocol { .. })));
}
