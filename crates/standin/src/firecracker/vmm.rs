//! The machine: which request is allowed when, and what it does. Words of the errors are Firecracker's.

use std::fs::File;
use std::sync::mpsc;

use serde_json::json;

use super::VERSION;
use super::arguments::Arguments;
use super::config::{
    BackendType, Balloon, BalloonStatsUpdate, DriveUpdate, Level, NicUpdate, RateLimiter, SnapshotCreate,
    SnapshotLoad, SnapshotType,
};
use super::guest::Guest;
use super::http::{Request, Response};
use super::inside::host_path;
use super::kind::Kind;
use super::mmds::{self, Store};
use super::outputs::Outputs;
use super::played::Played;
use super::request::{Action, parse};
use super::resources::{Resources, check_kvm, open_drive};
use super::server::Call;
use super::snapshot::Header;
use super::tap;

const AFTER_START: &str = "The requested operation is not supported after starting the microVM.";
const BEFORE_START: &str = "The requested operation is not supported before starting the microVM.";

/// Everything of one process.
pub(crate) struct Vmm {
    id: String,
    kind: Kind,
    outputs: Outputs,
    resources: Resources,
    mmds_limit: usize,
    /// Something was configured for a boot: no snapshot may be loaded any more.
    boot_path: bool,
    /// A snapshot could not be loaded: the process ends once that was said.
    fatal: bool,
    running: Option<Running>,
}

struct Running {
    guest: Guest,
    paused: bool,
    deaf: bool,
}

/// The error is the fault message.
type ApiResult = Result<Response, String>;

fn done<T>(result: Result<T, String>) -> ApiResult {
    result.map(|_| Response::empty())
}

impl Vmm {
    pub(crate) fn new(arguments: Arguments, kind: Kind, outputs: Outputs) -> Self {
        Self {
            id: arguments.id,
            kind,
            outputs,
            resources: Resources::default(),
            mmds_limit: arguments.mmds_limit,
            boot_path: false,
            fatal: false,
            running: None,
        }
    }

    /// Carries out requests for ever. QEMU is a child of the thread that calls this.
    pub(crate) fn run(&mut self, calls: &mpsc::Receiver<Call>) -> Result<(), String> {
        for (request, answer) in calls {
            let deaf = self.running.as_ref().is_some_and(|running| running.deaf);
            if deaf {
                loop {
                    std::thread::park();
                }
            }
            let response = self.answer(&request);
            self.outputs.count();
            let _ = answer.send(response);
            if self.fatal {
                // The answer leaves by another thread.
                std::thread::sleep(std::time::Duration::from_millis(50));
                return Err("RunWithApi: Failed to build MicroVM: Loading snapshot failed..".to_owned());
            }
        }
        Ok(())
    }

    fn answer(&mut self, request: &Request) -> Response {
        self.outputs.log(
            Level::Info,
            "fc_api",
            &format!("The API server received a {} request on {:?}.", request.method, request.path),
        );
        let (action, deprecated) = match parse(request) {
            Ok(parsed) => parsed,
            Err(error) => return Response::fault(400, &error),
        };
        let outcome =
            if self.running.is_some() { self.after_start(action) } else { self.before_start(action) };
        match outcome {
            Ok(response) => Response { deprecated, ..response },
            Err(error) => {
                self.outputs.log(
                    Level::Error,
                    "fc_api",
                    &format!("Received Error. Status code: 400 Bad Request. Message: {error}"),
                );
                let status = if error.starts_with("MMDS limit exceeded") { 413 } else { 400 };
                Response { deprecated, ..Response::fault(status, &error) }
            }
        }
    }

    fn before_start(&mut self, action: Action) -> ApiResult {
        use Action as A;
        self.boot_path |= matches!(
            action,
            A::BootSource(_)
                | A::CpuConfig(_)
                | A::Drive(_)
                | A::Nic(_)
                | A::Machine(_)
                | A::Vsock(_)
                | A::Mmds(_)
                | A::Entropy(_)
                | A::Balloon(_)
        );
        match action {
            A::GetInstance | A::GetVersion | A::GetVmConfig | A::GetMachine => Ok(self.get(&action)),
            A::GetMmds => Ok(Response::json(&self.resources.metadata.lock().get())),
            A::GetBalloon => {
                let balloon = self.resources.config.balloon.as_ref();
                balloon
                    .map(Response::json)
                    .ok_or_else(|| "Balloon config error: No balloon device found.".to_owned())
            }
            A::BootSource(boot) => done(self.resources.set_boot_source(boot)),
            A::Drive(drive) => done(self.resources.set_drive(drive)),
            A::Nic(nic) => done(self.resources.set_nic(nic)),
            A::Machine(update) => done(self.resources.update_machine(&update)),
            A::Vsock(vsock) => done(self.resources.set_vsock(vsock)),
            A::Mmds(mmds) => done(self.resources.set_mmds(mmds)),
            A::Balloon(balloon) => done(self.resources.set_balloon(balloon)),
            A::Entropy(entropy) => {
                self.resources.config.entropy = Some(entropy);
                Ok(Response::empty())
            }
            A::PutMmds(value) => self.stored(|store, limit| store.put(value, limit)),
            A::PatchMmds(patch) => self.stored(|store, limit| store.patch(&patch, limit)),
            A::CpuConfig(cpu) => {
                self.resources.config.cpu = Some(cpu);
                Ok(Response::empty())
            }
            A::Serial(serial) => {
                // Its output goes where the console's goes.
                drop(serial.serial_out_path);
                Ok(Response::empty())
            }
            A::Logger(logger) => {
                if let Some(path) = logger.log_path {
                    let opened = self.outputs.log_to(&host_path(path));
                    opened.map_err(|error| format!("Logger error: Failed to open target file: {error}"))?;
                }
                self.outputs.log_level(logger.level, logger.show_level);
                Ok(Response::empty())
            }
            A::Metrics(metrics) => {
                done(self.outputs.metrics_to(&host_path(metrics.metrics_path)).map_err(|error| {
                    format!(
                        "Metrics error: Cannot initialize the metrics system due to bad user input: {error}"
                    )
                }))
            }
            A::Start => self.start(),
            A::SnapshotLoad(load) => self.load(&load),
            _ => Err(BEFORE_START.to_owned()),
        }
    }

    fn after_start(&mut self, action: Action) -> ApiResult {
        use Action as A;
        match action {
            A::GetInstance | A::GetVersion | A::GetVmConfig | A::GetMachine => Ok(self.get(&action)),
            A::GetMmds | A::PutMmds(_) | A::PatchMmds(_) if self.resources.config.mmds.is_none() => {
                Err("MMDS error: The MMDS data store is not initialized.".to_owned())
            }
            A::GetMmds => Ok(Response::json(&self.resources.metadata.lock().get())),
            A::PutMmds(value) => self.stored(|store, limit| store.put(value, limit)),
            A::PatchMmds(patch) => self.stored(|store, limit| store.patch(&patch, limit)),
            A::GetBalloon => self.balloon("Internal VMM error").map(|balloon| Response::json(&balloon)),
            A::GetBalloonStats => self.balloon_stats(),
            A::BalloonUpdate(update) => self.update_balloon(update.amount_mib),
            A::BalloonStatsUpdate(update) => self.update_balloon_stats(&update),
            A::Hinting | A::GetHinting => {
                self.balloon("Balloon update error")?;
                Err("Balloon update error: Failed perform action on device: Balloon: Attempting to use hinting when not \
                     enabled"
                    .to_owned())
            }
            A::FlushMetrics => {
                self.outputs.flush_metrics();
                Ok(Response::empty())
            }
            A::CtrlAltDel => Ok(Response::empty()),
            A::Pause => self.set_paused(true),
            A::Resume => self.set_paused(false),
            A::SnapshotCreate(create) => self.snapshot(&create),
            A::DriveUpdate(update) => self.update_drive(&update),
            A::NicUpdate(update) => self.update_nic(&update),
            A::Drive(_) | A::Nic(_) | A::Unplug => Err("PCI is not enabled".to_owned()),
            _ => Err(AFTER_START.to_owned()),
        }
    }

    fn get(&self, action: &Action) -> Response {
        match action {
            Action::GetVersion => Response::json(&json!({ "firecracker_version": VERSION })),
            Action::GetVmConfig => Response::json(&self.resources.shown()),
            Action::GetMachine => Response::json(&self.resources.config.machine),
            _ => {
                let state = match &self.running {
                    None => "Not started",
                    Some(running) if running.paused => "Paused",
                    Some(_) => "Running",
                };
                Response::json(&json!({
                    "id": self.id, "state": state, "vmm_version": VERSION, "app_name": "Firecracker"
                }))
            }
        }
    }

    fn stored(&mut self, store: impl FnOnce(&mut Store, usize) -> Result<(), mmds::Refused>) -> ApiResult {
        let stored = store(&mut self.resources.metadata.lock(), self.mmds_limit);
        match stored {
            Ok(()) => Ok(Response::empty()),
            Err(mmds::Refused::TooLarge) => {
                Err("MMDS limit exceeded error: The MMDS patch request doesn't fit.".to_owned())
            }
            Err(mmds::Refused::NotInitialized) => {
                Err("MMDS error: The MMDS data store is not initialized.".to_owned())
            }
        }
    }

    fn start(&mut self) -> ApiResult {
        self.resources.check_start()?;
        let guest = check_kvm().and_then(|()| Guest::boot(self.kind, &self.resources)).map_err(|error| {
            format!("Start microvm error: Internal error while starting microVM: {error}")
        })?;
        self.started(guest, false)
    }

    fn started(&mut self, guest: Guest, paused: bool) -> ApiResult {
        let deaf = self.kind == Kind::Played && Played::is_deaf(&self.resources.config);
        self.running = Some(Running { guest, paused, deaf });
        let metrics = self.outputs.start_metrics();
        done(metrics.map_err(|error| format!("no thread for the metrics: {error}")))
    }

    fn set_paused(&mut self, paused: bool) -> ApiResult {
        let Some(running) = &mut self.running else { return Err(BEFORE_START.to_owned()) };
        let result = if paused { running.guest.pause() } else { running.guest.resume() };
        result.map_err(|error| format!("Internal VMM error: {error}"))?;
        running.paused = paused;
        Ok(Response::empty())
    }

    fn snapshot(&mut self, create: &SnapshotCreate) -> ApiResult {
        let Some(running) = self.running.as_mut().filter(|running| running.paused) else {
            return Err("Create snapshot error: Cannot save the microVM state: Cannot save Vcpu state: save/restore is \
                        not allowed while the microVM is running"
                .to_owned());
        };
        if create.snapshot_type == SnapshotType::Diff {
            return Err("Create snapshot error: the stand-in makes full snapshots only".to_owned());
        }
        let failed =
            |what: &str, error: &str| format!("Create snapshot error: Cannot perform {what}: {error}");
        let header = Header::new(self.kind, running.guest.port_open(), self.resources.config.clone());
        let state = header.create(&host_path(&create.snapshot_path));
        let state = state.map_err(|error| failed("open on the snapshot backing file", &error.to_string()))?;
        let memory = File::create(host_path(&create.mem_file_path));
        let memory = memory.map_err(|error| failed("open on the memory backing file", &error.to_string()))?;
        let size = (self.resources.config.machine.mem_size_mib as u64) << 20;
        done(running.guest.save(state, &memory, size).map_err(|error| failed("a save", &error)))
    }

    fn load(&mut self, load: &SnapshotLoad) -> ApiResult {
        if self.boot_path {
            return Err("Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific \
                        resources."
                .to_owned());
        }
        let loaded = self.restore(load).and_then(|mut guest| {
            if load.resume_vm {
                guest.resume()?;
            }
            Ok(guest)
        });
        match loaded {
            Ok(guest) => self.started(guest, !load.resume_vm),
            Err(error) => {
                self.fatal = true;
                Err(format!("Load snapshot error: Failed to restore from snapshot: {error}"))
            }
        }
    }

    fn restore(&mut self, load: &SnapshotLoad) -> Result<Guest, String> {
        let memory = match (&load.mem_backend, &load.mem_file_path) {
            (Some(backend), _) if backend.backend_type == BackendType::Uffd => {
                return Err("the stand-in has no user page faults".to_owned());
            }
            (Some(backend), _) => &backend.backend_path,
            (None, Some(path)) => path,
            (None, None) => return Err("no memory file".to_owned()),
        };
        let opened = Header::open(&host_path(&load.snapshot_path));
        let (header, state) = opened.map_err(|error| {
            format!("Failed to get snapshot state from file: Failed to open snapshot file: {error}")
        })?;
        check_kvm().map_err(|error| format!("Failed to build microVM from snapshot: {error}"))?;
        let memory = host_path(memory);
        File::open(&memory).map_err(|error| format!("Failed to load guest memory: {error}"))?;
        let resources = &mut self.resources;
        resources.config = header.config.clone();
        // Metadata is not part of a snapshot; the devices that may ask for it are.
        let built = |why: String| format!("Failed to build microVM from snapshot: {why}");
        for given in &load.network_overrides {
            let nic = resources.config.nics.iter_mut().find(|nic| nic.iface_id == given.iface_id);
            let nic = nic.ok_or_else(|| built("Unknown Network Device.".to_owned()))?;
            nic.host_dev_name.clone_from(&given.host_dev_name);
        }
        for drive in &resources.config.drives {
            open_drive(drive).map_err(built)?;
        }
        for nic in &resources.config.nics {
            resources.taps.push(tap::open(&nic.host_dev_name).map_err(built)?);
        }
        match (resources.config.vsock.take(), &load.vsock_override) {
            (Some(mut vsock), given) => {
                if let Some(given) = given {
                    vsock.uds_path.clone_from(&given.uds_path);
                }
                resources.set_vsock(vsock).map_err(built)?;
            }
            (None, Some(_)) => return Err(built("Unknown Vsock Device.".to_owned())),
            (None, None) => {}
        }
        Guest::restore(self.kind, &self.resources, &header, state, &memory)
    }

    fn update_drive(&mut self, update: &DriveUpdate) -> ApiResult {
        let failed = |why: &str| {
            format!(
                "Drive config error: Unable to patch the block device: {why} Please verify the request arguments."
            )
        };
        let mut drives = self.resources.config.drives.iter_mut().enumerate();
        let Some((index, drive)) = drives.find(|(_, drive)| drive.drive_id == update.drive_id) else {
            return Err(failed("Failed perform action on device: Device not found"));
        };
        if update.path_on_host.is_none() && update.rate_limiter.is_none() {
            return Err(failed("Block: Invalid block backend."));
        }
        if let Some(path) = &update.path_on_host {
            let changed = super::config::Drive { path_on_host: Some(path.clone()), ..drive.clone() };
            open_drive(&changed).map_err(|error| failed(&format!("Block: {error}")))?;
            if self.kind == Kind::Emulated && drive.path_on_host != changed.path_on_host {
                return Err(failed("the stand-in's QEMU keeps the file that it has open."));
            }
            *drive = changed;
        }
        drive.rate_limiter = RateLimiter::updated(drive.rate_limiter, update.rate_limiter);
        if let (Some(running), Some(_)) = (&mut self.running, update.rate_limiter) {
            let throttled = running.guest.throttle(index, drive.rate_limiter.as_ref());
            throttled.map_err(|error| failed(&format!("Block: {error}")))?;
        }
        Ok(Response::empty())
    }

    /// The limits are kept and shown; taps are not limited here.
    fn update_nic(&mut self, update: &NicUpdate) -> ApiResult {
        let nics = &mut self.resources.config.nics;
        let Some(nic) = nics.iter_mut().find(|nic| nic.iface_id == update.iface_id) else {
            return Err("Network config error: Unable to update the net device: Failed perform action on device: Device \
                        not found"
                .to_owned());
        };
        nic.rx_rate_limiter = RateLimiter::updated(nic.rx_rate_limiter, update.rx_rate_limiter);
        nic.tx_rate_limiter = RateLimiter::updated(nic.tx_rate_limiter, update.tx_rate_limiter);
        Ok(Response::empty())
    }

    fn balloon(&self, context: &str) -> Result<Balloon, String> {
        let balloon = self.resources.config.balloon.clone();
        balloon.ok_or_else(|| format!("{context}: Failed perform action on device: Device not found"))
    }

    fn update_balloon(&mut self, amount_mib: u32) -> ApiResult {
        let mut balloon = self.balloon("Balloon update error")?;
        let size = self.resources.config.machine.mem_size_mib as u64;
        let Some(left) = size.checked_sub(u64::from(amount_mib)) else {
            return Err(format!(
                "Balloon update error: Balloon: Requested memory should be less than {amount_mib}MiB"
            ));
        };
        if let Some(running) = &mut self.running {
            running.guest.balloon(left).map_err(|error| format!("Balloon update error: Balloon: {error}"))?;
        }
        balloon.amount_mib = amount_mib;
        self.resources.config.balloon = Some(balloon);
        Ok(Response::empty())
    }

    fn update_balloon_stats(&mut self, update: &BalloonStatsUpdate) -> ApiResult {
        let mut balloon = self.balloon("Balloon update error")?;
        let (old, new) = (balloon.stats_polling_interval_s, update.stats_polling_interval_s);
        if old != new && (old == 0 || new == 0) {
            return Err(
                "Balloon update error: Balloon: Statistics cannot be enabled/disabled after activation."
                    .to_owned(),
            );
        }
        balloon.stats_polling_interval_s = new;
        self.resources.config.balloon = Some(balloon);
        Ok(Response::empty())
    }

    fn balloon_stats(&mut self) -> ApiResult {
        let balloon = self.balloon("Internal VMM error")?;
        if balloon.stats_polling_interval_s == 0 {
            return Err(
                "Internal VMM error: Balloon: Received stats query when stats are disabled.".to_owned()
            );
        }
        let size = self.resources.config.machine.mem_size_mib as u64;
        let actual = self.running.as_mut().and_then(|running| running.guest.actual_mib());
        let held = actual.map_or(u64::from(balloon.amount_mib), |actual| size.saturating_sub(actual));
        Ok(Response::json(&json!({
            "target_pages": u64::from(balloon.amount_mib) << 8,
            "actual_pages": held << 8,
            "target_mib": balloon.amount_mib,
            "actual_mib": held,
            "free_memory": (size - held.min(size)) << 19,
            "total_memory": size << 20,
            "available_memory": (size - held.min(size)) << 19,
        })))
    }
}
