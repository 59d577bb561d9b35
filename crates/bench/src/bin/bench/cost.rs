//! What one machine costs the host: everything from the pool's order until the row is gone, the driver's start of a
//! process and its end included. The process is the stand-in, so the guest's boot and QEMU's own start are left out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_machine::{Machinery, Parts, Settings};
use fireactions_model::{
    Event, FailureKind, MachineId, Machines, NewMachine, Phase, PoolName, PoolSpec, Shape,
};
use fireactions_store::Store;
use fireactions_testkit::standin;
use fireactions_vmm::accel::{Accel, Choice};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use crate::guestless::Guestless;
use crate::world::{UID_BASE, World};
use crate::{Args, alone};
use fireactions_bench::report::{Goal, Report, median, millis, percentile};
use fireactions_bench::usage;

const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(args: &Args, world: &World, report: &mut Report) -> anyhow::Result<()> {
    report.load("cost");
    let store = Store::open(world.dir.join("state"))?;
    let (events, mut heard) = broadcast::channel(1024);
    let pool = pool(world)?;
    let (machines, starts) = machinery(args, world, &store, &events, &pool).await?;
    let new = NewMachine { pool: pool.name.clone(), shape: pool.shape.clone() };

    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    let mut phases: BTreeMap<Phase, Vec<f64>> = BTreeMap::new();
    // The first makes the scratch template; it is not counted.
    for round in 0..=args.times(50, 5) {
        let (began, used) = (Instant::now(), usage::cpu()?);
        let id = machines.create(new.clone()).await?;
        let times = timeout(DEADLINE, gone(&mut heard, &id)).await.context("the machine does not end")??;
        let (took, used) = (began.elapsed(), usage::cpu()?.saturating_sub(used));
        if round > 0 {
            wall.push(millis(took));
            cpu.push(millis(used));
            for (phase, time) in times {
                phases.entry(phase).or_default().push(time);
            }
        }
    }
    let name = "one machine, host's part";
    report.judged(format!("{name}: wall p50"), median(&wall), "ms", Goal::AtMost(8.0));
    report.row(format!("{name}: wall, fastest"), percentile(&wall, 0), "ms");
    report.judged(format!("{name}: wall p99"), percentile(&wall, 99), "ms", Goal::AtMost(25.0));
    report.row(format!("{name}: CPU p50"), median(&cpu), "ms");
    report.row(format!("{name}: CPU p99"), percentile(&cpu, 99), "ms");
    let starts: Vec<f64> = starts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .skip(1)
        .map(|took| millis(*took))
        .collect();
    ensure!(starts.len() == wall.len(), "{} processes for {} machines", starts.len(), wall.len());
    let meaning = [
        (Phase::Image, "image, boot files, scratch"),
        (Phase::Net, "tap and rules, longer than the scratch disk took"),
        (Phase::Teardown, "undo"),
    ];
    for (phase, meaning) in meaning {
        let times = phases.get(&phase).map_or(&[][..], Vec::as_slice);
        report.row(format!("  of it, phase {}: {meaning}", phase.as_str()), median(times), "ms");
    }
    report.row("  of it, the driver: the stand-in started until it answers", median(&starts), "ms");
    report.note(format!(
        "host's part: {} machines one after another through the real store, images, network and scratch disks; \
         QEMU is the stand-in, whose start, processor time and end are in it; no guest is waited for; 'alone' is the same \
         call by itself",
        wall.len()
    ));
    alone::measure(args, world, &store, &pool, report).await?;
    drop(machines);
    store.close().await;
    Ok(())
}

fn pool(world: &World) -> anyhow::Result<PoolSpec> {
    Ok(PoolSpec::new(
        PoolName::new("bench")?,
        Shape { image: world.image.clone(), vcpus: 1, memory_mib: 512, disk_mib: 8192 },
    ))
}

async fn machinery(
    args: &Args,
    world: &World,
    store: &Store,
    events: &broadcast::Sender<Event>,
    pool: &PoolSpec,
) -> anyhow::Result<(Machinery, Arc<Mutex<Vec<Duration>>>)> {
    let accel = Choice { accel: Accel::Tcg, why: "the stand-in asks for none".into() };
    let config = QemuConfig {
        binary: standin::program(),
        cgroup_parent: Some("fireactions-bench".into()),
        ..QemuConfig::new(accel)
    };
    let vmm = Guestless::new(Qemu::new(config), store.clone());
    let starts = vmm.starts();
    let forge = LocalForge::new(store.clone(), events.clone(), LocalConfig::default()).await?;
    let machines = Machinery::new(Parts {
        store: store.clone(),
        images: world.images.clone(),
        network: world.network.clone(),
        volumes: None,
        vmm: Arc::new(vmm),
        forge: Arc::new(forge),
        events: events.clone(),
        settings: Arc::new(Settings {
            run_dir: world.dir.join("run"),
            boot_dir: world.dir.join("boot"),
            scratch_dir: world.dir.join("scratch"),
            kernel: Some(args.programs.kernel.join("vmlinuz")),
            modules: Some(world.modules.clone()),
            agent: args.programs.agent.clone(),
            uid_base: UID_BASE,
            dns: vec![],
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            drop_ins: watch::channel(Vec::new()).1,
            environment: Vec::new(),
            pools: BTreeMap::from([(pool.name.clone(), pool.clone().into())]),
            console_max: 1 << 20,
            artifact_max: 1 << 30,
        }),
    });
    Ok((machines, starts))
}

/// Waits for the end of the machine's row; the milliseconds of its phases. Fails when the machine failed at
/// anything but the wait for its guest.
async fn gone(
    heard: &mut broadcast::Receiver<Event>,
    machine: &MachineId,
) -> anyhow::Result<BTreeMap<Phase, f64>> {
    let mut phases = BTreeMap::new();
    loop {
        match heard.recv().await? {
            Event::Phase { phase, micros, .. } => {
                phases.insert(phase, millis(Duration::from_micros(micros)));
            }
            Event::Machine { machine: view } => {
                if let Some(failure) = &view.failure {
                    ensure!(failure.kind == FailureKind::Vmm, "the machine failed: {}", failure.message);
                }
            }
            Event::MachineGone { id, .. } if id == *machine => break,
            _ => {}
        }
    }
    // The last phase is told right after the row is gone; a missing one only leaves a gap in the table.
    if let Ok(Ok(Event::Phase { phase, micros, .. })) = timeout(Duration::from_millis(50), heard.recv()).await
    {
        phases.insert(phase, millis(Duration::from_micros(micros)));
    }
    Ok(phases)
}
