//! Somebody in the guest who is not its agent and speaks for it. Under Firecracker any process of a guest may dial the host;
//! under QEMU there is one port, and the agent has it.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use fireactions_guest_proto::{
    Decoder, Exit, Frame, GuestHello, GuestMsg, GuestState, HostMsg, JobResult, Kind,
};
use nix::sys::signal::Signal;

use crate::driver::on_firecracker;
use crate::world::{BOOT, Setup, World, attempts, pool, text};

#[test]
fn an_impostor_in_the_guest_is_told_nothing_and_speaks_for_nobody() {
    if on_firecracker() {
        dials_before_the_agent();
    } else {
        finds_the_port_taken();
    }
}

/// What a played guest dials, its VMM's socket, is dialled here in the place of a process in that guest.
fn dials_before_the_agent() {
    let more = "shutdown: {mode: leave}".to_owned();
    let pools = pool("default", 0, 1, "");
    let mut world = World::start(Setup { pools, more, standin: true, ..Setup::default() });
    let job = world.submit(&[], "echo begun; wait; exit 3");
    world.wait_log(&job, "begun", BOOT);
    let machine = world.machines()[0]["id"].as_str().unwrap().to_owned();
    let socket = agent_socket(&world.path("state/run").join(&machine), &machine);

    world.signal_server(Signal::SIGKILL);
    world.server_ended(Duration::from_secs(60));
    // The agent gets through its jail's root only once the impostor was there: the first that proves itself ends the race.
    let root = socket.parent().unwrap();
    let before = std::fs::metadata(root).unwrap().permissions();
    std::fs::set_permissions(root, Permissions::from_mode(0o000)).unwrap();
    let (heard, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, ends, run, place) = (Arc::clone(&heard), Arc::clone(&stop), job.clone(), socket.clone());
    let impostor = std::thread::spawn(move || {
        let mut told = Vec::new();
        while !ends.load(Ordering::SeqCst) {
            match pose(&place, &run) {
                Some(leaked) => {
                    told.extend(leaked);
                    count.fetch_add(1, Ordering::SeqCst);
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        told
    });
    world.boot();
    let disbelieved = "not its agent answers instead of the agent";
    world.wait(BOOT, "the impostor to be disbelieved", || world.log().contains(disbelieved).then_some(()));
    world.wait(BOOT, "the impostor to be turned away", || (heard.load(Ordering::SeqCst) > 0).then_some(()));
    std::fs::set_permissions(root, before).unwrap();
    world.wait(BOOT, "the job to listen", || {
        world.cli(&["exec", &job, "--", "tell"]).status.success().then_some(())
    });
    let ended = world.wait_job(&job, &["failed", "succeeded", "lost"], BOOT);
    stop.store(true, Ordering::SeqCst);
    let told = impostor.join().unwrap();
    assert_eq!((&ended["outcome"]["code"], attempts(&ended)), (&3.into(), 1), "{ended}\n{}", world.log());
    assert!(told.is_empty(), "it heard {told:?}");
    world.finish();
}

fn agent_socket(run_dir: &Path, machine: &str) -> PathBuf {
    let entries = std::fs::read_dir(run_dir).unwrap().map(|entry| entry.unwrap().path());
    let mut jails = entries.map(|path| path.join(machine).join("root/v.sock_1024"));
    jails.find(|path| path.exists()).unwrap_or_else(|| panic!("no agent's socket in {}", run_dir.display()))
}

/// Takes one connection of the agent's place and says that its job is over; gives what it was told beside the greeting.
/// `None` when it was not greeted.
fn pose(socket: &Path, run: &str) -> Option<Vec<String>> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut decoder = Decoder::new(1 << 20);
    let (mut greeted, mut told) = (false, Vec::new());
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return greeted.then_some(told);
        }
        let mut rest = &buffer[..count];
        while let Some(frame) = decoder.next(&mut rest) {
            let frame = frame.unwrap();
            let Ok(HostMsg::Hello { newest, .. }) = serde_json::from_slice(&frame.body) else {
                told.push(String::from_utf8_lossy(&frame.body).into_owned());
                continue;
            };
            greeted = true;
            let result = JobResult::new(Exit::Code(0));
            let over = GuestState::Exited { run: run.to_owned(), acked: 0, end: 6, result };
            let hello = GuestHello {
                version: newest,
                agent_version: "1".to_owned(),
                boot_us: 1,
                kernel: "6".to_owned(),
                state: over,
                secret: None,
            };
            let body = serde_json::to_vec(&GuestMsg::Hello(hello)).unwrap();
            let lie = Frame { kind: Kind::Control, channel: 0, stream: 0, nonce: frame.nonce, body };
            let _ = stream.write_all(&lie.encode());
        }
    }
}

fn finds_the_port_taken() {
    let world = World::start(Setup { pools: pool("default", 0, 1, ""), ..Setup::default() });
    let script = "stat -c %a:%u /dev/vport0p1; (exec 3<>/dev/vport0p1) 2>&1 && exit 9; exit 3";
    let job = world.submit(&[], script);
    let ended = world.wait_job(&job, &["failed", "succeeded", "lost"], BOOT);
    let log = text(&world.cli(&["jobs", "logs", &job]).stdout);
    assert_eq!((&ended["outcome"]["code"], attempts(&ended)), (&3.into(), 1), "{ended}\n{log}");
    assert!(log.starts_with("600:0\n") && log.to_lowercase().contains("busy"), "{log}");
    world.finish();
}
