//! A machine as a clone of a template; where that fails, it boots instead.

use std::path::Path;
use std::time::Duration;

use fireactions_image::Images;
use fireactions_model::{Digest, FailureKind, InitMode, Phase, Shape, StartMode, Step};
use fireactions_vmm::{Start, VmSpec};
use tokio::time::timeout;

use crate::end::End;
use crate::guest::{Guest, link};
use crate::life::Life;
use crate::metadata;
use crate::resources::{Resources, in_time};
use crate::templates::{Order, Templates};

/// The agent of a clone waits for a connection since before it was frozen: it answers in milliseconds.
const SPEAK_DEADLINE: Duration = Duration::from_secs(15);
const UNDO_DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no clone.
enum Unfit {
    /// The machine ends.
    Machine(End),
    /// The host cannot make what a clone needs; for people.
    Host(String),
    /// The clone did not come to life, by its template's fault or because the host is slow; for people.
    Clone(String),
    /// The VMM does not take the template; for people.
    Template(String),
}

impl Life {
    /// Clones the template if it is there, up to its agent's first word. False when the machine is to boot: the
    /// template is missing and has been requested, or does not work.
    ///
    /// A clone that is late or gone says little: a busy host is late, and kills. If the machine boots well then, that speaks
    /// against the template ([`Life::spoke`]). A template that the VMM does not take at all is thrown away.
    pub(crate) async fn restore(
        &mut self,
        resources: &Resources,
        order: Order,
        spec: &VmSpec,
    ) -> Result<bool, End> {
        let Some(directory) = self.parts.images.template(&order.key).await else {
            self.templates.want(&self.parts, order);
            return Ok(false);
        };
        let mut spec = spec.clone();
        spec.start = Start::Restore(directory.clone());
        spec.metadata = metadata::nobodys(&self.parts, &self.pool);
        let cloned = match self.copy_disk(resources, &directory).await {
            Ok(()) => self.clone_template(&spec).await,
            Err(unfit) => Err(unfit),
        };
        let why = match cloned {
            Ok(()) => {
                self.templates.succeeded(&order.key);
                fail::fail_point!("machine::restored");
                return Ok(true);
            }
            Err(Unfit::Machine(end)) => return Err(end),
            Err(Unfit::Host(why)) => why,
            Err(Unfit::Clone(why)) => {
                self.made.doubted = Some(order.key.clone());
                why
            }
            Err(Unfit::Template(why)) => {
                fail::fail_point!("machine::restore-failed");
                self.throw_away(order.key.clone());
                why
            }
        };
        tracing::warn!(
            machine = %self.record.id(), pool = %self.pool.name, key = order.key.hex(),
            "the template could not be cloned; the machine boots instead: {why}"
        );
        self.boot_instead(resources, &order.shape, why).await
    }

    /// The agent spoke for the first time. Where a clone failed and the same machine boots well, the host was not to blame:
    /// a template of which that is seen time and again, with no clone that lived between, is thrown away.
    pub(crate) fn spoke(&mut self) {
        self.record.spoke();
        let Some(key) = self.made.doubted.take() else { return };
        if !self.templates.doubt(&key) {
            return;
        }
        self.throw_away(key);
    }

    /// No machine waits for this.
    fn throw_away(&self, key: Digest) {
        let (templates, images) = (self.templates.clone(), self.parts.images.clone());
        tokio::spawn(async move { throw_away(&templates, &images, &key).await });
    }

    /// Prepares the clone's resources for a boot instead. False, as in [`Life::restore`].
    async fn boot_instead(&mut self, resources: &Resources, shape: &Shape, why: String) -> Result<bool, End> {
        self.record.fell_back(why);
        self.undo_clone(resources, shape).await?;
        fail::fail_point!("machine::restore-undone");
        self.record.step(Step::Spawn).await?;
        self.record.restart_clock();
        Ok(false)
    }

    /// Gives the clone the disk that its template was frozen with, where that had been written to.
    async fn copy_disk(&self, resources: &Resources, template: &Path) -> Result<(), Unfit> {
        if self.pool.init == InitMode::Agent {
            return Ok(());
        }
        let copied = in_time("the copy of its scratch disk", resources.copy_disk(template))
            .await
            .map_err(|late| Unfit::Host(late.to_string()))?;
        fail::fail_point!("machine::restored-own-disk");
        copied.map_err(|error| {
            if error.is_missing() {
                Unfit::Template(error.to_string())
            } else {
                Unfit::Host(error.to_string())
            }
        })
    }

    async fn clone_template(&mut self, spec: &VmSpec) -> Result<(), Unfit> {
        let Self { parts, pool, record, made, .. } = self;
        let vm = in_time("its VMM process", parts.vmm.spawn(spec))
            .await
            .map_err(|late| Unfit::Clone(late.to_string()))?
            .map_err(|error| {
                let why = error.to_string();
                if error.is_hosts() { Unfit::Clone(why) } else { Unfit::Template(why) }
            })?;
        made.vm = Some(vm.clone());
        record.process(&vm, StartMode::Snapshot).await.map_err(Unfit::Machine)?;
        record.phase(Phase::Spawn);
        let link = link(parts, pool, record, &vm).map_err(Unfit::Machine)?;
        made.link = Some(link.clone());
        let guest = Guest { machine: record.id().clone(), vm, link };
        let deadline = SPEAK_DEADLINE.min(pool.deadlines.boot);
        match self.meet(&guest, deadline).await {
            Ok(_) => Ok(()),
            Err(End::Failed(failure)) => Err(Unfit::Clone(failure.message)),
            Err(end) => Err(Unfit::Machine(end)),
        }
    }

    /// Leaves directory and tap (but for one that the driver made), and nothing else of the clone.
    async fn undo_clone(&mut self, resources: &Resources, shape: &Shape) -> Result<(), End> {
        let Self { parts, pool, record, made, .. } = self;
        let failed = |why: String| End::because(FailureKind::Vmm, why);
        if let Some(link) = made.link.take() {
            link.close();
        }
        let process = match made.vm.take() {
            Some(vm) => {
                vm.kill().await;
                Some(*vm.process())
            }
            // It may have been cut off on the way.
            None => None,
        };
        timeout(UNDO_DEADLINE, parts.vmm.sweep(&resources.directory, record.id(), process.as_ref()))
            .await
            .map_err(|_| failed(format!("a clone that failed could not be undone within {UNDO_DEADLINE:?}")))?
            .map_err(|error| failed(format!("a clone that failed could not be undone: {error}")))?;
        if parts.vmm.capabilities().makes_taps {
            // Its own came with the clone; the next process brings another.
            timeout(UNDO_DEADLINE, parts.network.detach(record.id()))
                .await
                .map_err(|_| failed(format!("a clone's tap could not be removed within {UNDO_DEADLINE:?}")))?
                .map_err(|error| failed(format!("a clone's tap could not be removed: {error}")))?;
        }
        in_time("a new scratch disk", resources.make_disk(parts, pool, shape)).await??;
        made.taken = resources.make_sticky(parts, pool, false).await?;
        Ok(())
    }
}

/// Another one is made in its place after a while.
async fn throw_away(templates: &Templates, images: &Images, key: &Digest) {
    tracing::warn!(key = key.hex(), "the template does not work and is deleted");
    templates.failed(key);
    if let Err(error) = images.remove_template(key).await {
        tracing::warn!(%error, "a template could not be deleted");
    }
}
