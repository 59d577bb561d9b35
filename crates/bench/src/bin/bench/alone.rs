//! The calls of a machine's way by themselves: which part costs what.

use std::time::Instant;

use fireactions_image::scratch;
use fireactions_model::{MachineId, PoolSpec, PullPolicy, Step};
use fireactions_store::{MachineChange, NewMachineRow, Store};
use fireactions_vmm::{Vmm, boot};

use crate::Args;
use crate::world::{UID_BASE, World};
use fireactions_bench::report::{Report, median, millis};

pub(crate) async fn measure(
    args: &Args,
    world: &World,
    store: &Store,
    pool: &PoolSpec,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut times: [(&str, Vec<f64>); 7] = [
        ("image and boot files, cached", vec![]),
        ("scratch disk of 8 GiB", vec![]),
        ("tap and rules, made", vec![]),
        ("tap and rules, undone", vec![]),
        ("one journal entry", vec![]),
        ("row made and removed", vec![]),
        ("look for the VMM process, cgroup, sockets", vec![]),
    ];
    let directory = world.dir.join("run").join("alone");
    let (templates, disk) = (world.dir.join("scratch"), directory.join("scratch.ext4"));
    let kernel = args.programs.kernel.join("vmlinuz");
    for _ in 0..args.times(50, 5) {
        let id = MachineId::from_random(rand::random());
        std::fs::create_dir(&directory)?;
        let mut part = 0;
        let mut clock = Instant::now();
        let mut lap = |clock: &mut Instant| {
            times[part].1.push(millis(clock.elapsed()));
            part += 1;
            *clock = Instant::now();
        };
        world.images.ensure(&world.image, PullPolicy::IfNotPresent, None).await?;
        boot::prepare(&world.dir.join("boot"), &kernel, Some(&world.modules), &args.programs.agent).await?;
        lap(&mut clock);
        scratch::create(&templates, &disk, scratch::Size::of(pool.shape.disk_mib), (UID_BASE, UID_BASE))
            .await?;
        lap(&mut clock);
        world.network.attach(&world.port(&id, 0)?).await?;
        lap(&mut clock);
        world.network.detach(&id).await?;
        lap(&mut clock);

        let (spec, shape) = (pool.clone(), pool.shape.clone());
        let row = NewMachineRow { id: id.clone(), spec, shape, max_slots: 8 };
        let began = Instant::now();
        store.insert_machine(row).await?;
        let made = began.elapsed();
        clock = Instant::now();
        let step = Some((Step::Net, serde_json::Value::Null));
        store.change_machine(&id, MachineChange { step, ..MachineChange::default() }).await?;
        lap(&mut clock);
        store.remove_machine(&id).await?;
        // The row's making is part of this lap too.
        clock -= made;
        lap(&mut clock);
        world.vmm.sweep(&directory, &id, None).await?;
        lap(&mut clock);
        std::fs::remove_dir_all(&directory)?;
    }
    for (part, values) in &times {
        report.row(format!("  alone: {part}"), median(values), "ms");
    }
    Ok(())
}
