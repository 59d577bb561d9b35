//! Image, scratch disk, network, VMM process.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fireactions_guest_proto::host::Link;
use fireactions_image::{ImageConfig, Progress, ProgressFn, scratch};
use fireactions_model::{Event, FailureKind, ImageRef, MachineState, Phase, PoolSpec, Step};
use fireactions_net::{Network, Port};
use fireactions_vmm::{Drive, Nic, Start, Vm, VmSpec, boot as boot_files};
use tokio::time::timeout;

use crate::end::End;
use crate::life::Asks;
use crate::parts::Parts;
use crate::record::Record;

/// Disk, tap and process are made in milliseconds; a host that takes this long is not well.
const HOST_DEADLINE: Duration = Duration::from_secs(30);

/// Handles of what was made so far, for teardown. What was made is known from the journal; this only saves
/// teardown from looking it up again.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) vm: Option<Vm>,
    pub(crate) link: Option<Link>,
    /// How the image wants programs to be run.
    pub(crate) image: Option<ImageConfig>,
}

/// Makes everything up to a running VMM process.
pub(crate) async fn create(
    parts: &Parts,
    pool: &PoolSpec,
    record: &mut Record,
    asks: &mut Asks,
    made: &mut Made,
) -> Result<ImageConfig, End> {
    let settings = &parts.settings;
    let shape = record.view().shape.clone();

    record.step(Step::Image).await?;
    let began = Instant::now();
    let progress = progress_events(parts, &shape.image);
    let root = tokio::select! {
        root = timeout(pool.deadlines.image, parts.images.ensure(&shape.image, pool.pull, Some(progress))) => root
            .map_err(|_| End::because(FailureKind::Image, format!(
                "image '{}' was not ready after {:?}; if it is only large, raise the pool's deadlines.image",
                shape.image, pool.deadlines.image)))?
            .map_err(|e| End::failed(FailureKind::Image, &format!("image '{}'", shape.image), &e))?,
        end = asks.gone() => return Err(end),
    };
    let (kernel, modules) = settings.kernel_of(pool);
    let boot =
        timeout(HOST_DEADLINE, boot_files::prepare(&settings.boot_dir, kernel, modules, &settings.agent))
            .await
            .map_err(|_| too_slow("boot files"))?
            .map_err(|e| End::failed(FailureKind::Host, "boot files", &e))?;
    let image_took = began.elapsed();

    // Disk and network do not need each other; both are undone by name, so one intent covers them.
    record.image_then(&root.digest, Step::Net).await?;
    let directory = settings.machine_dir(record.id());
    let uid = settings.uid_base + record.slot();
    let began = Instant::now();
    let disk = async {
        make_run_dir(&directory).await?;
        scratch::create(&settings.scratch_dir, &directory.join("scratch.ext4"), shape.disk_mib, (uid, uid))
            .await
            .map_err(|e| End::failed(FailureKind::Host, "scratch disk", &e))?;
        Ok::<_, End>(began.elapsed())
    };
    let address = parts.network.address(record.slot()).ok_or_else(|| {
        End::because(FailureKind::Host, "the subnet has no address left; make network.subnet larger")
    })?;
    let tap = Network::tap_name(record.id());
    let mac = Network::mac(record.slot());
    let port = Port {
        machine: record.id().clone(),
        tap: tap.clone(),
        address,
        mac,
        owner_uid: uid,
        policy: pool.network.clone(),
    };
    let net = async {
        parts.network.attach(&port).await.map_err(|e| End::failed(FailureKind::Host, "network", &e))?;
        Ok::<_, End>(began.elapsed())
    };
    let (disk, net) = timeout(HOST_DEADLINE, async { tokio::join!(disk, net) })
        .await
        .map_err(|_| too_slow("scratch disk and network"))?;
    record.phase_took(Phase::Image, image_took + disk?);
    record.phase_took(Phase::Net, net?);
    record.restart_clock();

    record.enter(MachineState::Booting, Step::Spawn).await?;
    let spec = VmSpec {
        id: record.id().clone(),
        boot,
        cmdline_extra: pool.kernel.args.clone(),
        vcpus: shape.vcpus,
        memory_mib: shape.memory_mib,
        drives: vec![
            Drive { id: "root".into(), path: root.path.clone(), read_only: true },
            Drive { id: "scratch".into(), path: directory.join("scratch.ext4"), read_only: false },
        ],
        nics: vec![Nic { tap, mac, bandwidth_mbit: pool.network.bandwidth_mbit }],
        run_dir: directory,
        uid,
        gid: uid,
        console_max: settings.console_max,
        init: pool.init,
        start: Start::Boot,
        hardware: pool.hardware.clone(),
        metadata: None,
    };
    let vm = timeout(HOST_DEADLINE, parts.vmm.spawn(&spec))
        .await
        .map_err(|_| too_slow("the VMM process"))?
        .map_err(|e| End::failed(FailureKind::Vmm, "the VMM process", &e))?;
    made.vm = Some(vm.clone());
    record.process(&vm).await?;
    record.phase(Phase::Spawn);
    Ok(root.config)
}

/// A directory that only the server can enter: the VMM gets open descriptors and listening sockets.
async fn make_run_dir(directory: &std::path::Path) -> Result<(), End> {
    let failed = |e: std::io::Error| {
        End::failed(FailureKind::Host, &format!("run directory {}", directory.display()), &e)
    };
    // A machine id is never used twice, so nothing can be there.
    tokio::fs::create_dir(directory).await.map_err(failed)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(failed)
}

fn too_slow(what: &str) -> End {
    End::because(
        FailureKind::Host,
        format!("{what} took over {HOST_DEADLINE:?}; the host is overloaded or its disk hangs"),
    )
}

/// Tells an image's progress as events.
fn progress_events(parts: &Parts, image: &ImageRef) -> ProgressFn {
    let events = parts.events.clone();
    let image = image.to_string();
    Arc::new(move |progress| {
        let (status, done, total) = match progress {
            Progress::Resolving => ("resolving", 0, None),
            Progress::Pulling { done, total } => ("pulling", done, Some(total)),
            Progress::Converting { done, total } => ("converting", done, Some(total)),
            Progress::Ready => ("ready", 0, None),
        };
        let _ = events.send(Event::Image { image: image.clone(), done, total, status: status.into() });
    })
}
