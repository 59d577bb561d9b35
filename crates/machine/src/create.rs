//! Image, scratch disk, network, VMM process.

use std::sync::Arc;
use std::time::Instant;

use fireactions_image::{ImageConfig, Progress, ProgressFn};
use fireactions_model::{Event, FailureKind, ImageRef, MachineState, Phase, StartMode, Step};
use fireactions_vmm::boot as boot_files;
use tokio::time::timeout;

use crate::end::End;
use crate::life::Life;
use crate::metadata;
use crate::parts::Parts;
use crate::resources::{Resources, in_time, side_by_side};
use crate::secret;
use crate::templates::Order;

impl Life {
    /// Makes everything up to a running VMM process.
    pub(crate) async fn create(&mut self) -> Result<Arc<ImageConfig>, End> {
        let Self { parts, pool, record, asks, made, .. } = self;
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
            end = asks.retired() => return Err(end),
        };
        let (kernel, modules) = settings.kernel_of(pool).ok_or_else(|| {
            End::because(FailureKind::Host, "there is no guest kernel for this pool; set kernel.image")
        })?;
        let prepared = boot_files::prepare(&settings.boot_dir, kernel, modules, &settings.agent);
        let boot = in_time("boot files", prepared)
            .await?
            .map_err(|e| End::failed(FailureKind::Host, "boot files", &e))?;
        let image_took = began.elapsed();

        // Disk and network do not need each other; both are undone by name, so one intent covers them.
        record.image_then(&root.digest, Step::Net).await?;
        let resources = Resources::new(parts, record.id(), record.slot())?;
        let disk = async {
            resources.make_directory().await?;
            resources.make_disk(parts, pool, &shape).await?;
            secret::make(&resources.directory)
        };
        // A driver that makes the tap itself brings it along with the process.
        let late = parts.vmm.capabilities().makes_taps;
        let net = async { if late { Ok(()) } else { resources.attach(parts, &pool.network).await } };
        let both = in_time("scratch disk and network", side_by_side(disk, net)).await?;
        let ((disk, disk_took), (net, net_took)) = both;
        disk?;
        net?;
        let began = Instant::now();
        made.taken = resources.make_sticky(parts, pool, false).await?;
        record.phase_took(Phase::Image, image_took + disk_took + began.elapsed());
        if !late {
            record.phase_took(Phase::Net, net_took);
        }
        record.restart_clock();

        record.enter(MachineState::Booting, Step::Spawn).await?;
        let order = Order::new(&*parts.vmm, pool, &shape, &root, &boot);
        let mut spec = resources.spec(parts, pool, &shape, &root.path, boot);
        let restored = match order {
            Some(order) => self.restore(&resources, order, &spec).await?,
            None => false,
        };
        if !restored {
            let Self { parts, pool, record, made, .. } = self;
            spec.metadata = metadata::of(parts, pool, record.id())?;
            let vm = in_time("the VMM process", parts.vmm.spawn(&spec))
                .await?
                .map_err(|e| End::failed(FailureKind::Vmm, "the VMM process", &e))?;
            made.vm = Some(vm.clone());
            record.process(&vm, StartMode::Boot).await?;
            record.phase(Phase::Spawn);
        }
        if late {
            let Self { parts, pool, record, .. } = self;
            let began = Instant::now();
            in_time("the network", resources.attach(parts, &pool.network)).await??;
            record.phase_took(Phase::Net, began.elapsed());
            record.restart_clock();
        }
        Ok(Arc::new(root.config))
    }
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
