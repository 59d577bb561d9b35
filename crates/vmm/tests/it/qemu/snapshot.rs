//! Templates and their clones, with the real agent.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::host::Link;
use fireactions_vmm::{Nic, Start, Vm, VmSpec, Vmm};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::qemu::agent::{World, identity, job, must};
use crate::qemu::guest::{UID, cgroups};

/// Says who the machine is, in this order, and leaves a mark on its own disk.
const WHO: &str = "head -c 32 /dev/urandom | md5sum; cat /etc/machine-id /proc/sys/kernel/hostname; \
    cat /sys/class/net/eth0/address; ip -o -4 addr show eth0 | tr -s ' ' | cut -d' ' -f4; \
    cat /proc/sys/kernel/random/boot_id; date +%s; ls /mark* 2>/dev/null | wc -l; \
    touch /mark-$(cat /proc/sys/kernel/hostname); ping -c 1 -W 10 $GATEWAY >/dev/null && echo reached";

fn mac(index: u8) -> [u8; 6] {
    [2, 0xfa, 0, 0, 1, index]
}

fn nic(index: u8) -> Nic {
    Nic { tap: format!("fasnap{index}"), mac: mac(index), bandwidth_mbit: None }
}

/// Runs a test in a network namespace of its own, with `taps` taps, each with the gateway of its machine.
fn in_namespace(taps: u8, test: impl AsyncFnOnce() + Send + 'static) {
    let run = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("root is needed for a network namespace");
        let ip = |args: String| must(Command::new("ip").args(args.split(' ')));
        for index in 0..taps {
            ip(format!("tuntap add dev fasnap{index} mode tap"));
            ip(format!("addr add 10.9.{index}.1/30 dev fasnap{index}"));
            ip(format!("link set fasnap{index} up"));
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    };
    std::thread::spawn(run).join().unwrap();
}

/// What a job of [`WHO`] said.
struct Who {
    /// Random bytes, machine id, hostname, MAC, address, boot id.
    own: [String; 6],
}

impl Who {
    /// Its clock may lag by the time that its identity, with the host's clock in it, took to arrive.
    async fn ask(link: &Link, index: u8, lag: Duration) -> Self {
        let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let before = seconds();
        let text = job(link, &WHO.replace("$GATEWAY", &format!("10.9.{index}.1"))).await;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 9, "{text}");
        assert_eq!(lines[1], format!("{index:032x}"));
        assert_eq!(lines[2], format!("clone{index}"));
        assert_eq!(lines[3], format!("02:fa:00:00:01:{index:02x}"));
        assert_eq!(lines[4], format!("10.9.{index}.2/30"));
        let (clock, after) = (lines[6].parse::<u64>().unwrap(), seconds());
        let earliest = before - lag.as_secs() - 1;
        assert!((earliest..=after).contains(&clock), "its clock: {clock}; now: {earliest} to {after}");
        assert_eq!(lines[7], "0", "nobody else's mark is on its disk");
        assert_eq!(lines[8], "reached");
        Self { own: std::array::from_fn(|line| lines[line].clone()) }
    }
}

/// Proportional set size in KiB: what is shared is counted in parts.
fn pss(vm: &Vm) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", vm.process().pid)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn hash(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).unwrap()).to_vec()
}

/// Starts one of several machines, gives it its identity and lets it say who it is.
async fn come_to_life(world: &World, start: &Start, index: u8) -> (Vm, Who, Duration, Duration) {
    let started = Instant::now();
    let (_, vm, link) = world.start(start, &[nic(index)]).await;
    let answered = started.elapsed();
    let told = Instant::now();
    link.configure(identity(index, mac(index))).await.unwrap();
    let who = Who::ask(&link, index, told.elapsed()).await;
    (vm, who, answered, started.elapsed())
}

/// Ten machines at once; their processes.
async fn many(count: u8, world: &Arc<World>, start: &Start, what: &str) -> Vec<Vm> {
    let mut starting = JoinSet::new();
    for index in 0..count {
        let (world, start) = (Arc::clone(world), start.clone());
        starting.spawn(async move { come_to_life(&world, &start, index).await });
    }
    let began = Instant::now();
    let lives = starting.join_all().await;
    let took = began.elapsed();
    for line in 0..6 {
        let different: BTreeSet<&str> = lives.iter().map(|(_, who, ..)| who.own[line].as_str()).collect();
        assert_eq!(different.len(), lives.len(), "{what}: {different:?}");
    }
    let sum: u64 = lives.iter().map(|(vm, ..)| pss(vm)).sum();
    let slowest = lives.iter().map(|(_, _, answered, _)| *answered).max().unwrap_or_default();
    println!("{what}: slowest agent {slowest:?}, all jobs done {took:?}, PSS of all {} MiB", sum >> 10);
    lives.into_iter().map(|(vm, ..)| vm).collect()
}

#[test]
fn clones_of_one_template_have_nothing_of_each_other() {
    in_namespace(10, async || {
        let world = &Arc::new(World::new().await);
        let template = world.freeze("template", vec![nic(0)]).await;
        let (memory, state) = (template.join("memory"), template.join("state"));
        for file in [&memory, &state] {
            let meta = fs::metadata(file).unwrap();
            let own = rustix::process::geteuid().as_raw();
            assert_eq!((meta.uid(), meta.mode() & 0o7777), (own, 0o400), "{}", file.display());
        }
        let meta = fs::metadata(&memory).unwrap();
        println!("template: {} of {} MiB of memory", meta.blocks() >> 11, meta.size() >> 20);
        println!("template: {} KiB of state", fs::metadata(&state).unwrap().size() >> 10);
        let before = (hash(&memory), hash(&state));

        let (vm, _, answered, done) = come_to_life(world, &Start::Restore(template.clone()), 0).await;
        println!("one clone: agent {answered:?}, its job done {done:?}");
        cannot_write_the_template(&vm);
        vm.kill().await.unwrap();

        let is_long = std::env::var_os("FIREACTIONS_LONG").is_some();
        let count = if is_long { 10 } else { 4 };
        let clones = many(count, world, &Start::Restore(template.clone()), "clones at once").await;
        for vm in clones {
            vm.kill().await.unwrap();
        }
        assert_eq!((hash(&memory), hash(&state)), before, "a template is what it was");

        if is_long {
            // For whoever compares.
            for vm in many(count, world, &Start::Boot, "cold boots at once").await {
                vm.kill().await.unwrap();
            }
        }
    });
}

/// Tries, as the clone's user, what a guest that took QEMU over could try.
fn cannot_write_the_template(vm: &Vm) {
    let fds = format!("/proc/{}/fd", vm.process().pid);
    let memories: Vec<_> = fs::read_dir(&fds)
        .unwrap()
        .map(|fd| fd.unwrap().path())
        .filter(|fd| fs::read_link(fd).unwrap_or_default().to_string_lossy().contains("template-memory"))
        .collect();
    assert!(!memories.is_empty(), "the clone's memory is the loaded one");
    for fd in memories {
        let writable = fs::File::options().write(true).open(&fd).unwrap();
        let error = std::os::unix::fs::FileExt::write_at(&writable, b"x", 0).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "sealed: {error}");
    }
}

#[tokio::test]
async fn a_restore_that_cannot_be_says_why_and_leaves_nothing() {
    let world = World::new().await;
    let template = world.freeze("template", vec![]).await;
    let refused = async |change: &dyn Fn(&mut VmSpec)| {
        let mut spec = world.spec(Start::Restore(template.clone()), vec![]);
        change(&mut spec);
        let error = world.qemu.spawn(&spec).await.expect_err("it must not start").to_string();
        assert_eq!(fs::read_dir(&spec.run_dir).unwrap().count(), 0, "{error}");
        assert!(!world.qemu.strays().await.unwrap().contains(&spec.id), "{error}");
        error
    };
    let error = refused(&|spec| spec.memory_mib = 192).await;
    assert!(error.contains("it holds 128 MiB, and the machine has 192"), "{error}");
    let error = refused(&|spec| spec.start = Start::Restore("/nonexistent".into())).await;
    assert!(error.contains("/nonexistent/memory: No such file"), "{error}");
    // Another machine altogether: QEMU itself finds that out.
    let error = refused(&|spec| drop(spec.drives.pop())).await;
    assert!(error.contains("ended before its guest ran"), "{error}");
    let state = template.join("state");
    let whole = fs::read(&state).unwrap();
    fs::write(&state, &whole[..whole.len() / 2]).unwrap();
    let error = refused(&|_| ()).await;
    assert!(error.contains("ended before its guest ran"), "{error}");

    // After all that the template still serves.
    fs::write(&state, &whole).unwrap();
    let (_, vm, _) = world.start(&Start::Restore(template.clone()), &[]).await;
    vm.kill().await.unwrap();
}

#[tokio::test]
async fn a_clone_outlives_its_server_and_is_adopted() {
    let world = World::new().await;
    let template = world.freeze("template", vec![]).await;
    let (spec, first, link) = world.start(&Start::Restore(template), &[]).await;
    let mut identity = identity(3, [2, 0, 0, 0, 0, 3]);
    identity.address = std::net::Ipv4Addr::UNSPECIFIED;
    link.configure(identity).await.unwrap();
    link.shut().await;
    let record = *first.process();
    first.detach();
    drop(first);

    let another = crate::qemu::guest::qemu();
    let vm = another.adopt(&spec.id, &spec.run_dir, &record, 4096).await.unwrap().expect("it still runs");
    let fireactions_vmm::AgentEndpoint::Dial(path) = vm.agent() else { panic!("QEMU is dialled") };
    let link = Link::open(fireactions_guest_proto::host::Endpoint::Dial(path), "mtest");
    assert_eq!(job(&link, "hostname").await, "clone3\n");
    let error = vm.balloon(16).await.unwrap_err().to_string();
    assert!(error.contains("refused to do 'balloon'"), "a clone has none: {error}");
    let error = vm.freeze(Duration::from_secs(10)).await.unwrap_err().to_string();
    assert!(error.contains("was not started as a template"), "{error}");
}

#[tokio::test]
async fn a_template_whose_server_died_is_swept() {
    let world = World::new().await;
    let dir = world.template_dir("half");
    let spec = world.spec(Start::Template(dir.clone()), vec![]);
    let vm = world.qemu.spawn(&spec).await.unwrap();
    let record = *vm.process();
    // While it runs its files are its user's, and no template.
    assert_eq!(fs::metadata(dir.join("memory")).unwrap().uid(), UID);
    let clone = world.spec(Start::Restore(dir.clone()), vec![]);
    let error = world.qemu.spawn(&clone).await.unwrap_err().to_string();
    assert!(error.contains("not part of a complete template"), "{error}");
    vm.detach();
    drop(vm);
    let another = crate::qemu::guest::qemu();
    assert!(another.strays().await.unwrap().contains(&spec.id));
    another.sweep(&spec.run_dir, &spec.id, None).await.unwrap();
    assert!(another.adopt(&spec.id, &spec.run_dir, &record, 4096).await.unwrap().is_none());
    assert_eq!(fs::read_dir(&spec.run_dir).unwrap().count(), 0);
    assert!(cgroups(&spec.id).is_empty());
}

#[tokio::test]
async fn a_booted_guest_gives_memory_back_and_gets_it_again() {
    let world = World::new().await;
    let (_, vm, _) = world.start(&Start::Boot, &[]).await;
    for target in [32, 0] {
        vm.balloon(target).await.unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while vm.ballooned().await.unwrap() != target {
            assert!(Instant::now() < end, "{} of {target} MiB", vm.ballooned().await.unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    vm.kill().await.unwrap();
}
