//! Cold start: from the start of the VMM process to the first line of the job. The same root, kernel, initramfs,
//! disks, network card and VMM settings; only PID 1 differs.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use fireactions_guest_proto::host::{Endpoint, JobEvent, Link};
use fireactions_guest_proto::{Identity, RunRequest};
use fireactions_model::{Hardware, InitMode, MachineId};
use fireactions_net::Port;
use fireactions_vmm::{AgentEndpoint, Drive, Nic, Start, Vm, VmSpec, Vmm};
use tokio::time::{sleep, timeout};

use crate::Args;
use crate::report::{Goal, Report, median};
use crate::seed::{self, BOOT_LINE, FIRST_LINE};
use crate::world::{UID_BASE, World};

/// systemd and cloud-init take most of a minute under emulation, and longer beside other work.
const DEADLINE: Duration = Duration::from_secs(600);

/// Seconds from the start of the process.
struct Times {
    first_line: f64,
    /// cloud-init's earliest command.
    bootcmd: Option<f64>,
}

pub(crate) async fn measure(args: &Args, world: &World, report: &mut Report) -> anyhow::Result<()> {
    report.load("cold start");
    let (mut agent, mut cloud, mut bootcmd) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.times(3, 1) {
        // Several of ours for each of theirs: they are short, and so more easily disturbed.
        for _ in 0..args.times(3, 1) {
            agent.push(start(world, InitMode::Agent).await?.first_line);
        }
        let times = start(world, InitMode::Image).await?;
        cloud.push(times.first_line);
        bootcmd.extend(times.bootcmd);
    }
    report.row("cold start to the job's first line: fireactions", median(&agent), "s");
    report.row("  systemd + cloud-init, runcmd", median(&cloud), "s");
    report.judged("  how much faster", median(&cloud) / median(&agent), "×", Goal::AtLeast(15.0));
    report.row("  systemd + cloud-init, bootcmd", median(&bootcmd), "s");
    report.row("  how much faster than bootcmd", median(&bootcmd) / median(&agent), "×");
    report.note(format!(
        "cold start: 1 vCPU, 512 MiB, medians of {} and {} starts in turn; both boot the same kernel, initramfs, \
         squashfs and network card with the same QEMU arguments, and differ in fireactions.init=agent|image: in \
         the second case the initramfs mounts the root and executes the image's systemd; cloud-init is told to \
         look at NoCloud only, and its seed is on the scratch disk; accelerator {}",
        agent.len(),
        cloud.len(),
        world.accel,
    ));
    Ok(())
}

/// One start, undone whatever happens.
async fn start(world: &World, init: InitMode) -> anyhow::Result<Times> {
    let id = MachineId::from_random(rand::random());
    let run_dir = world.dir.join("run").join(id.as_str());
    std::fs::create_dir(&run_dir)?;
    let port = world.port(&id)?;
    let times = timeout(DEADLINE, timed(world, init, &id, &run_dir, &port)).await;
    world.vmm.sweep(&run_dir, &id, None).await?;
    world.network.detach(&id).await?;
    std::fs::remove_dir_all(&run_dir)?;
    times.with_context(|| format!("no first line after {DEADLINE:?} with init {init:?}"))?
}

async fn timed(
    world: &World,
    init: InitMode,
    id: &MachineId,
    run_dir: &Path,
    port: &Port,
) -> anyhow::Result<Times> {
    let scratch = run_dir.join("scratch.ext4");
    seed::disk(&scratch, port, &world.network)?;
    world.network.attach(port).await?;
    let spec = VmSpec {
        id: id.clone(),
        boot: world.boot.clone(),
        cmdline_extra: String::new(),
        vcpus: 1,
        memory_mib: 512,
        drives: vec![
            Drive { id: "root".into(), path: world.root.path.clone(), read_only: true },
            Drive { id: "scratch".into(), path: scratch, read_only: false },
        ],
        nics: vec![Nic { tap: port.tap.clone(), mac: port.mac, bandwidth_mbit: None }],
        run_dir: run_dir.to_owned(),
        uid: UID_BASE,
        gid: UID_BASE,
        console_max: 1 << 20,
        init,
        start: Start::Boot,
        hardware: Hardware::default(),
        metadata: None,
    };
    let began = Instant::now();
    let vm = world.vmm.spawn(&spec).await?;
    let times = tokio::select! {
        times = async { match init {
            InitMode::Agent => by_agent(world, port, &vm, began).await,
            InitMode::Image => by_console(&vm, began).await,
        }} => times,
        exit = vm.exited() => bail!("the machine ended: {exit}\n{}", exit.console_tail),
    };
    let console = || std::fs::read_to_string(vm.console()).unwrap_or_default();
    times.with_context(|| format!("console: {}", console()))
}

/// The job as the server starts it.
async fn by_agent(world: &World, port: &Port, vm: &Vm, began: Instant) -> anyhow::Result<Times> {
    let AgentEndpoint::Dial(path) = vm.agent() else { bail!("the driver has no socket to dial") };
    let link = Link::open(Endpoint::Dial(path), port.machine.to_string());
    link.hello().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let identity = Identity {
        hostname: port.machine.to_string(),
        address: port.address,
        prefix: world.network.prefix(),
        gateway: world.network.gateway(),
        dns: vec![],
        machine_id: format!("{:032x}", rand::random::<u128>()),
        entropy: rand::random::<[u8; 64]>().to_vec(),
        unix_nanos: u64::try_from(now.as_nanos())?,
        mtu: None,
    };
    link.configure(identity).await?;
    let request = RunRequest {
        run: "bench".into(),
        argv: ["/bin/sh", "-c", &format!("echo '{FIRST_LINE}'")].map(str::to_owned).to_vec(),
        env: world
            .root
            .config
            .env
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        user: String::new(),
        workdir: String::new(),
    };
    link.run(request).await?;
    let JobEvent::Output { data, .. } = link.next_output().await? else {
        bail!("the job ended without a line")
    };
    let first_line = began.elapsed().as_secs_f64();
    link.close();
    if !data.starts_with(FIRST_LINE.as_bytes()) {
        bail!("the job said {:?}", String::from_utf8_lossy(&data));
    }
    Ok(Times { first_line, bootcmd: None })
}

/// The line as cloud-init writes it to the console.
async fn by_console(vm: &Vm, began: Instant) -> anyhow::Result<Times> {
    let mut bootcmd = None;
    loop {
        let console = std::fs::read(vm.console()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let now = began.elapsed().as_secs_f64();
        if bootcmd.is_none() && console.contains(BOOT_LINE) {
            bootcmd = Some(now);
        }
        if console.contains(FIRST_LINE) {
            return Ok(Times { first_line: now, bootcmd });
        }
        sleep(Duration::from_millis(5)).await;
    }
}
