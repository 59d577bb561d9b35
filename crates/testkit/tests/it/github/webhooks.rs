//! Deliveries, to a small server of the test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use fireactions_testkit::github::{Delivery, FakeGithub, JobRequest, Scope};
use fireactions_testkit::port::ReservedPort;
use serde_json::Value;

use super::client::{SOON, assert_clean};

/// What came.
#[derive(Debug, Clone)]
struct Received {
    event: String,
    guid: String,
    signature: Option<String>,
    body: Vec<u8>,
}

impl Received {
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let hex =
            hmac::sign(&key, &self.body).as_ref().iter().fold(String::new(), |t, b| t + &format!("{b:02x}"));
        self.signature.as_deref() == Some(&format!("sha256={hex}"))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Inbox = Arc<Mutex<Vec<Received>>>;

fn receive(stream: TcpStream, inbox: &Inbox) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => headers.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let of = |line: &String| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        headers.iter().find_map(of)
    };
    let mut body = vec![0; header("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let (event, guid) = (header("x-github-event")?, header("x-github-delivery")?);
    inbox.lock().unwrap().push(Received { event, guid, signature: header("x-hub-signature-256"), body });
    reader
        .get_mut()
        .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .ok()
}

fn world() -> (FakeGithub, Inbox) {
    let fake = FakeGithub::local();
    fake.repository("octo/app");
    let key = fake.app("runners");
    fake.install_fully(key.id, "octo");
    let inbox = Inbox::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    fake.webhook(&format!("http://{}/hook", listener.local_addr().unwrap()), "sesame");
    let into = inbox.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            receive(stream, &into);
        }
    });
    (fake, inbox)
}

fn job() -> JobRequest {
    JobRequest::new("octo/app", &["linux"], "true")
}

#[test]
fn a_cancelled_job_is_told_twice_and_answers_are_kept() {
    let (fake, inbox) = world();
    let id = fake.queue_job(job());
    fake.wait_delivered(SOON);
    fake.cancel_job(id);
    fake.wait_delivered(SOON);
    let inbox = inbox.lock().unwrap().clone();
    let actions: Vec<Value> = inbox.iter().map(|one| one.json()["action"].clone()).collect();
    assert_eq!(actions, ["queued", "completed"]);
    assert!(inbox.iter().all(|one| one.event == "workflow_job" && one.is_signed_with("sesame")));
    let body = inbox[1].json();
    assert_eq!(body["workflow_job"]["conclusion"], "cancelled");
    assert_eq!(body["organization"]["login"], "octo");
    assert!(body["installation"]["id"].is_u64());
    let delivered = fake.delivered();
    assert_eq!(delivered[1].event, "workflow_job.completed");
    assert_eq!((delivered[1].answer.clone(), delivered[1].job), (Ok(202), Some(id)));
    assert_eq!(delivered[1].guid, inbox[1].guid);
    assert_clean(&fake);
}

#[test]
fn a_job_that_needs_approval_waits() {
    let (fake, inbox) = world();
    let runner = Scope::Organization("octo".into());
    fake.jit_config(&runner, "r", &["linux"]);
    let id = fake.hold_job(job());
    fake.wait_delivered(SOON);
    fake.approve_job(id);
    fake.wait_delivered(SOON);
    let actions: Vec<Value> = inbox.lock().unwrap().iter().map(|one| one.json()["action"].clone()).collect();
    assert_eq!(actions, ["waiting", "queued"]);
    assert_eq!(fake.open_jobs(), [id]);
    assert_clean(&fake);
}

#[test]
fn deliveries_go_wrong_in_every_way_that_is_scripted() {
    let (fake, inbox) = world();
    let deliver = |how: Delivery| {
        inbox.lock().unwrap().clear();
        fake.deliver_next(1, how);
        fake.queue_job(job());
        fake.wait_delivered(SOON);
        inbox.lock().unwrap().clone()
    };
    assert!(deliver(Delivery::Lost).is_empty());
    for how in [Delivery::Duplicated, Delivery::Again(Duration::from_millis(300))] {
        let twice = deliver(how);
        assert_eq!((twice.len(), &twice[0].guid), (2, &twice[1].guid), "{how:?}");
    }
    let started = std::time::Instant::now();
    assert_eq!(deliver(Delivery::Late(Duration::from_millis(300))).len(), 1);
    assert!(started.elapsed() >= Duration::from_millis(300));
    let forged = deliver(Delivery::WrongSignature);
    assert!(!forged[0].is_signed_with("sesame") && forged[0].signature.is_some());
    assert_eq!(deliver(Delivery::Unsigned)[0].signature, None);
    let huge = deliver(Delivery::Huge(3 << 20));
    assert_eq!(huge[0].body.len(), 3 << 20);
    assert_eq!(huge[0].json()["action"], "queued");
    let normal = deliver(Delivery::Normal);
    assert!(normal[0].is_signed_with("sesame"));
    fake.redeliver(&normal[0].guid);
    fake.wait_delivered(SOON);
    assert_eq!(inbox.lock().unwrap()[1].guid, normal[0].guid);
    fake.deliver_raw("ping", b"{}", None);
    fake.deliver_raw("workflow_job", b"not json", Some("sha256=00"));
    fake.wait_delivered(SOON);
    let raw = inbox.lock().unwrap()[2..].to_vec();
    assert!(raw.iter().any(|one| one.event == "ping" && one.is_signed_with("sesame")));
    assert!(raw.iter().any(|one| one.signature.as_deref() == Some("sha256=00")));
    assert_clean(&fake);
}

#[test]
fn an_endpoint_that_is_not_there_is_an_answer_too() {
    let fake = FakeGithub::local();
    fake.user("mona");
    fake.enterprise("big", &["octo"]);
    fake.repository("mona/dots");
    fake.repository("octo/app");
    let closed = ReservedPort::new((Ipv4Addr::LOCALHOST, 0).into());
    fake.webhook(&format!("http://{}/", closed.address()), "x");
    fake.queue_job(JobRequest::new("mona/dots", &["linux"], "true"));
    fake.queue_job(job());
    fake.jit_config(&Scope::Repository("mona/dots".into()), "r", &["linux"]);
    fake.wait_delivered(SOON);
    assert!(fake.delivered().iter().all(|one| one.answer.is_err()));
    assert_eq!(fake.delivered().len(), 2);
    assert_clean(&fake);
}
