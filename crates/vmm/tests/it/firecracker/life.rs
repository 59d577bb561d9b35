//! One machine from its start to its end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fireactions_guest_proto::host::Link;
use fireactions_model::MmdsVersion;
use fireactions_vmm::{ExitCause, Metadata, ProcessRecord, Start, Vm, VmSpec, Vmm};
use rustix::process::{Pid, Signal};
use serde_json::json;
use tokio::time::timeout;

use crate::firecracker::lab::{
    self, Lab, SOON, console, greet, identity, idle, in_namespace, is_there, job, link, must, nic, sweep,
};

/// Starts a machine and gives it its identity.
async fn ready(driver: &dyn Vmm, spec: &VmSpec) -> (Vm, Link) {
    let began = Instant::now();
    let vm = driver.spawn(spec).await.unwrap();
    let spawned = began.elapsed();
    let link = link(&vm);
    idle(&vm, &link).await;
    let answered = began.elapsed();
    timeout(SOON, link.configure(identity(0))).await.unwrap().unwrap();
    println!(
        "started in {spawned:?}, its agent answered after {answered:?}, configured after {:?}",
        began.elapsed()
    );
    (vm, link)
}

#[test]
fn a_jailed_guest_boots_runs_a_job_on_its_network_and_reboots_to_its_end() {
    if !is_there("a_jailed_guest_boots_runs_a_job_on_its_network_and_reboots_to_its_end", true) {
        return;
    }
    in_namespace(1, async || {
        let lab = Lab::new(true).await;
        let driver = lab.driver().await;
        let mut spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        let user = json!({ "latest": { "meta-data": { "fireactions": { "runner_id": "r-1" } } } });
        spec.metadata = Some(Metadata { version: MmdsVersion::V1, data: user });
        let (vm, link) = ready(&driver, &spec).await;
        assert_eq!(vm.diagnose().await, None);

        greet().await;
        let said = job(
            &link,
            "grep ' / ' /proc/mounts; hostname; cat /etc/machine-id; nc 10.8.0.1 8080 </dev/null; \
             wget -q -O - http://169.254.169.254/latest/meta-data/fireactions/runner_id; echo; \
             echo written > /mark; cat /mark",
        )
        .await;
        println!("the job said:\n{said}");
        for part in
            ["overlay", "clone0", "00000000000000000000000000000000", "hello over tcp", "r-1", "written"]
        {
            assert!(said.contains(part), "'{part}' is missing:\n{said}");
        }

        let fresh = json!({ "latest": { "meta-data": { "fireactions": { "runner_id": "r-2" } } } });
        vm.set_metadata(&fresh).await.unwrap();
        vm.balloon(32).await.unwrap();
        let until = Instant::now() + SOON;
        while vm.ballooned().await.unwrap() < 32 {
            assert!(Instant::now() < until, "the guest gave up {} MiB", vm.ballooned().await.unwrap());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("the balloon holds {} MiB", vm.ballooned().await.unwrap());
        vm.balloon(0).await.unwrap();

        timeout(SOON, link.power_off()).await.unwrap().unwrap();
        let reason = timeout(SOON, vm.exited()).await.expect("the agent's reboot ends Firecracker");
        println!("its end: {reason}");
        assert_eq!(reason.cause, ExitCause::Code(0), "{reason:?}");
        assert!(reason.shutdown.is_some(), "{reason:?}");
        sweep(&driver, &spec, &vm).await;
    });
}

/// MMDS V2, the default: a process of the guest asks for a token first.
#[test]
fn the_metadata_service_of_a_guest_answers_whoever_has_a_token() {
    if !is_there("the_metadata_service_of_a_guest_answers_whoever_has_a_token", false) {
        return;
    }
    in_namespace(1, async || {
        let lab = Lab::new(false).await;
        let driver = lab.driver().await;
        let mut spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        let user = json!({ "latest": { "meta-data": { "fireactions": { "runner_id": "r-1" } } } });
        spec.metadata = Some(Metadata { version: MmdsVersion::V2, data: user });
        let (vm, link) = ready(&driver, &spec).await;
        // busybox's wget cannot PUT.
        let said = job(
            &link,
            r#"ask() { printf "$1 HTTP/1.1\r\nHost: a\r\n$2\r\n" | nc -w 5 169.254.169.254 80; }
            it=/latest/meta-data/fireactions/runner_id
            echo "without: $(ask "GET $it" '' | head -n 1)"
            token=$(ask 'PUT /latest/api/token' 'X-metadata-token-ttl-seconds: 60\r\n' | tail -n 1)
            echo "with: $(ask "GET $it" "X-metadata-token: $token\r\n" | tail -n 1)"
            echo "with another: $(ask "GET $it" "X-metadata-token: x$token\r\n" | head -n 1)""#,
        )
        .await;
        let said: Vec<&str> = said.lines().map(str::trim).collect();
        assert!(said[0].starts_with("without: ") && said[0].contains("401"), "{said:?}");
        assert_eq!(said[1], "with: r-1", "{said:?}");
        assert!(said[2].starts_with("with another: ") && said[2].contains("401"), "{said:?}");
        vm.kill().await.unwrap();
        sweep(&driver, &spec, &vm).await;
    });
}

#[test]
fn a_machine_outlives_its_server_is_adopted_and_its_end_seen() {
    if !is_there("a_machine_outlives_its_server_is_adopted_and_its_end_seen", true) {
        return;
    }
    in_namespace(1, async || {
        let lab = Lab::new(true).await;
        let spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        // A server that is gone without a goodbye, while the guest boots.
        let (config, started) = (lab.driver().await, spec.clone());
        let record: ProcessRecord = {
            let vm = config.spawn(&started).await.unwrap();
            vm.detach();
            *vm.process()
        };
        drop(config);
        let driver = lab.driver().await;
        assert!(driver.strays().await.unwrap().contains(&spec.id), "found without a record");
        let other = ProcessRecord { start_ticks: record.start_ticks + 1, ..record };
        assert!(driver.adopt(&spec.id, &spec.run_dir, &other, 65_536).await.unwrap().is_none());
        let vm =
            driver.adopt(&spec.id, &spec.run_dir, &record, 65_536).await.unwrap().expect("it still runs");
        let link = link(&vm);
        idle(&vm, &link).await;
        assert_eq!(vm.diagnose().await, None);
        timeout(SOON, link.configure(identity(0))).await.unwrap().unwrap();
        let _ = timeout(Duration::from_secs(20), job(&link, "reboot -f")).await;
        let reason = timeout(SOON, vm.exited()).await.expect("a guest's own reboot ends Firecracker");
        println!("its end: {reason}");
        assert_eq!((reason.cause, reason.shutdown.as_deref()), (ExitCause::Code(0), Some("guest-reset")));
        assert!(reason.console_tail.contains("the server restarted"), "{reason:?}");
        sweep(&driver, &spec, &vm).await;
    });
}

#[test]
fn a_panic_ends_the_machine_and_is_told() {
    if !is_there("a_panic_ends_the_machine_and_is_told", true) {
        return;
    }
    in_namespace(1, async || {
        let lab = Lab::new(true).await;
        let driver = lab.driver().await;
        let mut spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        // No init, and so no root, to go on with.
        spec.cmdline_extra.push_str(" rdinit=/nonexistent");
        let vm = driver.spawn(&spec).await.unwrap();
        let reason = timeout(lab::BOOT, vm.exited()).await.expect("a panic ends Firecracker");
        println!("its end: {reason}");
        assert_eq!(reason.cause, ExitCause::Code(0), "{reason:?}");
        assert!(reason.to_string().contains("Kernel panic"), "{reason:?}");
        sweep(&driver, &spec, &vm).await;
    });
}

#[test]
fn a_hung_firecracker_is_told_and_ended() {
    if !is_there("a_hung_firecracker_is_told_and_ended", true) {
        return;
    }
    in_namespace(1, async || {
        let lab = Lab::new(true).await;
        let driver = lab.driver().await;
        let spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        let vm = driver.spawn(&spec).await.unwrap();
        let pid = Pid::from_raw(i32::try_from(vm.process().pid).unwrap()).unwrap();
        let asked = Instant::now();
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let diagnosis = vm.diagnose().await.unwrap();
        assert!(diagnosis.contains("is stopped by a signal"), "{diagnosis}");
        let reason = vm.power_off(Duration::from_secs(2)).await.unwrap();
        println!("{diagnosis}; after {:?}: {reason}", asked.elapsed());
        assert_eq!(reason.cause, ExitCause::Signal(9));
        sweep(&driver, &spec, &vm).await;

        let spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        let vm = driver.spawn(&spec).await.unwrap();
        let asked = Instant::now();
        let reason = vm.power_off(Duration::from_secs(10)).await.unwrap();
        println!("asked to quit, it was gone after {:?}: {reason}", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(9), "before the ladder's last step");
        sweep(&driver, &spec, &vm).await;

        // Twice, without a record, and after a start that was cut off.
        let spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        let cut = timeout(Duration::from_millis(30), driver.spawn(&spec)).await;
        println!("a start was cut off: {}", cut.is_err());
        for _ in 0..2 {
            driver.sweep(&spec.run_dir, &spec.id, None).await.unwrap();
            assert_eq!(std::fs::read_dir(&spec.run_dir).unwrap().count(), 1);
        }
        assert!(!driver.strays().await.unwrap().contains(&spec.id));
    });
}

#[test]
fn without_a_jailer_it_is_an_unprivileged_process_all_the_same() {
    if !is_there("without_a_jailer_it_is_an_unprivileged_process_all_the_same", false) {
        return;
    }
    in_namespace(1, async || {
        let lab = Lab::new(false).await;
        usable_devices(lab.dir.path());
        let driver = lab.driver().await;
        let spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        let vm = driver.spawn(&spec).await.unwrap();
        let link = link(&vm);
        let status = crate::firecracker::jail::Status::of(vm.process().pid);
        assert_eq!(status.field("Uid")[0], lab::UID.to_string());
        assert_eq!(status.field("CapEff"), ["0000000000000000"]);
        assert_eq!(status.field("Seccomp"), ["2"]);
        assert_eq!(status.field("Groups"), Vec::<String>::new());
        let directory = std::fs::read_link(format!("/proc/{}/cwd", vm.process().pid)).unwrap();
        assert!(directory.starts_with(&spec.run_dir), "{}", directory.display());
        idle(&vm, &link).await;
        link.close();
        let reason = vm.power_off(Duration::from_secs(5)).await.unwrap();
        println!(
            "without a jailer: the agent answered; asked to quit: {reason}; console: {} bytes",
            console(&vm).len()
        );
        sweep(&driver, &spec, &vm).await;
    });
}

/// Where only root may open the devices: other nodes of them, in a mount namespace of this thread's.
fn usable_devices(dir: &Path) {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    must(Command::new("mount").args(["--make-rprivate", "/"]));
    for (device, minor) in [("/dev/kvm", "232"), ("/dev/net/tun", "200")] {
        let node = dir.join(minor);
        must(Command::new("mknod").args(["-m", "0666"]).arg(&node).args(["c", "10", minor]));
        must(Command::new("mount").arg("--bind").arg(&node).arg(device));
    }
}
