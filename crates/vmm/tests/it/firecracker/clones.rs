//! A template and its clones.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::host::Link;
use fireactions_vmm::firecracker::Firecracker;
use fireactions_vmm::{Start, Vm, VmSpec, Vmm};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::firecracker::lab::{
    BOOT, GREETING, Lab, SOON, greet, identity, idle, in_namespace, is_there, job, link, nic, sweep,
};

/// Says who the machine is, in this order, and leaves a mark on its own disk. In the shell's own words as far as they go:
/// a program's start takes such a guest seconds.
const WHO: &str = "for file in /proc/sys/kernel/random/uuid /etc/machine-id /proc/sys/kernel/hostname \
    /sys/class/net/eth0/address /proc/sys/kernel/random/boot_id; do read -r line < $file; echo $line; done; \
    if [ -e /mark ]; then echo marked; else echo unmarked; fi; echo > /mark; date +%s; nc $GATEWAY 8080 </dev/null";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Random bytes, machine id, hostname, MAC, boot id. `told` is when it was told the time, in seconds since 1970.
async fn who(link: &Link, index: u8, told: u64) -> Vec<String> {
    let text = job(link, &WHO.replace("$GATEWAY", &format!("10.8.{index}.1"))).await;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 8, "{text}");
    assert_eq!(lines[1], format!("{index:032x}"));
    assert_eq!(lines[2], format!("clone{index}"));
    assert_eq!(lines[3], format!("02:fa:00:00:02:{index:02x}"));
    // However long the message took and the program: not the template's time, and not one to come.
    let (clock, now) = (lines[6].parse().unwrap(), now());
    assert!((told..=now).contains(&clock), "its clock said {clock}, it was told {told}, and it is {now}");
    assert_eq!((lines[5].as_str(), lines[7].as_str()), ("unmarked", GREETING), "{text}");
    lines[..5].to_vec()
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

/// Jobs that run at a time; all machines run all the while.
static JOBS: Semaphore = Semaphore::const_new(2);

async fn come_to_life(driver: &Firecracker, spec: &VmSpec, index: u8) -> (Vm, Vec<String>, [Duration; 3]) {
    let began = Instant::now();
    let vm = driver.spawn(spec).await.unwrap();
    let spawned = began.elapsed();
    let link = link(&vm);
    idle(&vm, &link).await;
    let answered = began.elapsed();
    let job = JOBS.acquire().await.unwrap();
    let told = now();
    timeout(SOON, link.configure(identity(index))).await.unwrap().unwrap();
    let who = who(&link, index, told).await;
    drop(job);
    (vm, who, [spawned, answered, began.elapsed()])
}

#[test]
fn ten_jailed_clones_of_one_template_have_nothing_of_each_other() {
    if !is_there("ten_jailed_clones_of_one_template_have_nothing_of_each_other", true) {
        return;
    }
    in_namespace(10, async || {
        let lab = Lab::new(true).await;
        let driver = Arc::new(lab.driver().await);
        assert!(driver.capabilities().snapshot);
        greet().await;
        let template = lab.dir.path().join("template");
        fs::create_dir(&template).unwrap();
        let spec = lab.spec(0, Start::Template(template.clone()), vec![nic(0)]);
        let began = Instant::now();
        let vm = driver.spawn(&spec).await.unwrap();
        let made = link(&vm);
        idle(&vm, &made).await;
        let booted = began.elapsed();
        made.close();
        vm.freeze(BOOT).await.unwrap();
        println!("template: booted in {booted:?}, frozen after {:?}", began.elapsed());
        sweep(&driver, &spec, &vm).await;
        let (memory, state) = (template.join("memory"), template.join("state"));
        for file in [&memory, &state] {
            let meta = fs::metadata(file).unwrap();
            assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o444), "{}", file.display());
        }
        let before = (hash(&memory), hash(&state));
        println!("template: {} KiB of state", fs::metadata(&state).unwrap().len() >> 10);

        let spec = lab.spec(0, Start::Restore(template.clone()), vec![nic(0)]);
        let (vm, who, times) = come_to_life(&driver, &spec, 0).await;
        println!("one clone: spawned, answered, done after {times:?}; it is {who:?}");
        vm.kill().await.unwrap();
        sweep(&driver, &spec, &vm).await;

        let mut starting = JoinSet::new();
        for index in 0..10 {
            let spec = lab.spec(index, Start::Restore(template.clone()), vec![nic(index)]);
            let driver = Arc::clone(&driver);
            starting.spawn(async move {
                let life = come_to_life(&driver, &spec, index).await;
                (spec, life)
            });
        }
        let lives = starting.join_all().await;
        for line in 0..5 {
            let different: BTreeSet<&str> = lives.iter().map(|(_, (_, who, _))| who[line].as_str()).collect();
            assert_eq!(different.len(), 10, "{different:?}");
        }
        let slowest = |which: usize| lives.iter().map(|(_, (_, _, times))| times[which]).max().unwrap();
        let sum: u64 = lives.iter().map(|(_, (vm, ..))| pss(vm)).sum();
        println!(
            "ten clones: slowest spawned {:?}, answered {:?}, done {:?}; PSS of all {} MiB of 10 x 128",
            slowest(0),
            slowest(1),
            slowest(2),
            sum >> 10
        );
        for (spec, (vm, ..)) in &lives {
            vm.kill().await.unwrap();
            sweep(&driver, spec, vm).await;
        }
        assert_eq!((hash(&memory), hash(&state)), before, "a template is what it was");
    });
}
