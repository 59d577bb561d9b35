//! Somebody in the guest who is not its agent, and reaches the host before it: where a guest dials (vsock), any process may.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are not seen as tests

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use crate::common::rogue::{Rogue, ended, hello, running};
use crate::common::*;
use fireactions_guest_proto::guest::{Channel, Session};
use fireactions_guest_proto::host::{Endpoint, JobEvent, Link, LinkError, LinkOptions};
use fireactions_guest_proto::{
    AgentSecret, Exit, GuestHello, GuestMsg, GuestState, JobResult, Kind, VERSION,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

fn secret(byte: u8) -> AgentSecret {
    AgentSecret::from_random([byte; 32])
}

fn options(given: bool) -> LinkOptions {
    LinkOptions { secret: Some(secret(7)), secret_given: given, ..LinkOptions::default() }
}

fn listening(path: &Path, given: bool) -> Link {
    let staging = path.with_extension("staging");
    Link::open_with(Endpoint::Listen { path: path.to_owned(), staging }, "m", options(given))
}

/// What an impostor may say instead of the agent, with what it was told by then.
fn lies() -> Vec<GuestHello> {
    let over = GuestState::Exited { run: "j1".into(), acked: 0, end: 0, result: ended(0) };
    let states = [GuestState::Idle, GuestState::Configured, running(0), over];
    let mut lies: Vec<GuestHello> =
        states.into_iter().map(|state| GuestHello { version: 2, ..hello(state) }).collect();
    let guessed = lies.iter().map(|lie| GuestHello { secret: Some(secret(8)), ..lie.clone() });
    lies.extend(guessed.collect::<Vec<_>>());
    // An agent of before had no secret.
    lies.push(hello(running(0)));
    lies
}

/// Waits for the host's socket, and has every lie told there. None may be answered with anything but a hang-up.
async fn tell_lies(path: &Path) {
    for lie in lies() {
        let mut rogue = loop {
            // The host takes what comes in its own time.
            if let Some(rogue) = Rogue::dial(path).await {
                break rogue;
            }
            tokio::task::yield_now().await;
        };
        rogue.say(&GuestMsg::Hello(lie.clone())).await;
        while let Some(frame) = rogue.hear().await {
            let said = String::from_utf8_lossy(&frame.body).into_owned();
            assert!(frame.kind == Kind::Control && said.contains(r#""msg":"hello""#), "{lie:?} heard {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impostor_that_dials_first_is_told_nothing_and_the_job_ends_as_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vsock_1024");
    let (dial, away) = (path.clone(), Arc::new(AtomicBool::new(false)));
    let gate = Arc::clone(&away);
    let channel = Channel::Dial(Box::new(move || {
        if gate.load(Ordering::SeqCst) {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        Ok(std::os::unix::net::UnixStream::connect(&dial)?.into())
    }));
    let (end, told_to_end) = mpsc::channel();
    let job = move |session: Session| {
        session.started(1);
        told_to_end.recv().unwrap();
        session.exited(result(3));
    };
    let told = agent(Session::start(channel, about()).unwrap(), Box::new(job));

    timeout(LONG, async {
        let link = listening(&path, false);
        link.configure(identity()).await.unwrap();
        link.run(request("j1")).await.unwrap();
        away.store(true, Ordering::SeqCst);
        link.shut().await;

        // The next server's link. Some say nothing at all, and stay.
        let link = listening(&path, true);
        let mut silent = Vec::new();
        while silent.len() < 6 {
            silent.extend(UnixStream::connect(&path).await.ok());
        }
        tell_lies(&path).await;
        assert!(link.failure().is_none(), "{:?}", link.failure());
        away.store(false, Ordering::SeqCst);
        let hello = link.hello().await.unwrap();
        assert!(matches!(&hello.state, GuestState::Running { run, .. } if run == "j1"), "{hello:?}");
        assert_eq!(hello.secret, None, "nobody needs it any more");

        // Who comes now does not get in the way of the one that is there, or of its return.
        let mut late = UnixStream::connect(&path).await.unwrap();
        end.send(()).unwrap();
        assert_eq!(link.next_output().await.unwrap(), JobEvent::Exited(result(3)));
        let mut nothing = [0];
        let count = tokio::io::AsyncReadExt::read(&mut late, &mut nothing).await;
        assert!(matches!(count, Ok(0) | Err(_)), "{count:?}");
    })
    .await
    .unwrap();
    assert_eq!(told.lock().unwrap().runs, ["j1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impostor_at_the_port_is_told_nothing_and_the_agent_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let link = Link::open_with(Endpoint::Dial(path), "m", options(true));
    timeout(LONG, async {
        for lie in lies() {
            let mut impostor = Rogue::meet(&listener).await;
            impostor.say(&GuestMsg::Hello(lie.clone())).await;
            assert_eq!(impostor.hear().await, None, "{lie:?}");
        }
        // What is no answer at all is no reason to give the machine up either.
        let mut impostor = Rogue::meet(&listener).await;
        impostor.say(&GuestMsg::Pong).await;
        assert_eq!(impostor.hear().await, None);
        assert_eq!(link.failure(), None);

        let mut agent = Rogue::meet(&listener).await;
        let proven = GuestHello { version: 2, secret: Some(secret(7)), ..hello(running(0)) };
        agent.say(&GuestMsg::Hello(proven)).await;
        assert_eq!(link.hello().await.unwrap().state, running(0));
        // The agent itself is still judged.
        drop(agent);
        let mut agent = Rogue::meet(&listener).await;
        let back = GuestHello { version: 2, secret: Some(secret(7)), ..hello(GuestState::Idle) };
        agent.say(&GuestMsg::Hello(back)).await;
        link.closed().await;
        assert!(matches!(link.failure(), Some(LinkError::Protocol(why)) if why.contains("went back")));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn agents_of_before_are_taken_where_they_were_given_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let before = GuestHello { version: 1, ..hello(running(0)) };

    let link = Link::open(Endpoint::Dial(path.clone()), "m");
    let mut agent = Rogue::meet(&listener).await;
    agent.say(&GuestMsg::Hello(before)).await;
    assert_eq!(timeout(LONG, link.hello()).await.unwrap().unwrap().state, running(0));
    drop(link);

    // A new machine whose agent could not keep one.
    let link = Link::open_with(Endpoint::Dial(path), "m", options(false));
    let mut agent = Rogue::meet(&listener).await;
    agent.say(&GuestMsg::Hello(GuestHello { version: 1, ..hello(GuestState::Idle) })).await;
    timeout(LONG, link.closed()).await.unwrap();
    assert_eq!(link.failure(), Some(LinkError::Version { oldest: 2, newest: VERSION }));
}

/// The connection may break at any byte of the identity: what the agent has, it says.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_proves_itself_wherever_its_connections_break() {
    let end = JobResult::new(Exit::Code(5));
    for up in (40..900).step_by(60) {
        let cuts = vec![Cut { up, down: usize::MAX, stale: 0, repeat: 0 }; 2];
        let world = world(cuts, |session: Session| {
            session.started(1);
            session.exited(JobResult::new(Exit::Code(5)));
        });
        let link = Link::open_with(Endpoint::Dial(world.socket.clone()), "m", options(false));
        timeout(LONG, async {
            link.configure(identity()).await.unwrap();
            link.run(request("j1")).await.unwrap();
            link.shut().await;
            let link = Link::open_with(Endpoint::Dial(world.socket.clone()), "m", options(true));
            assert_eq!(link.next_output().await.unwrap(), JobEvent::Exited(end.clone()), "cut at {up}");
        })
        .await
        .unwrap();
    }
}
