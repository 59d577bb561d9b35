//! Which request asks for what. Order of the checks and words of the errors are Firecracker's (1.17).

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config::{
    ActionType, Balloon, BalloonStatsUpdate, BalloonUpdate, BootSource, Drive, DriveUpdate, Entropy,
    InstanceAction, Logger, Machine, MachineUpdate, Metrics, Mmds, MmdsVersion, Nic, NicUpdate, Serial,
    SnapshotCreate, SnapshotLoad, Vm, VmState, Vsock,
};
use super::cpu::CpuConfig;
use super::http::Request;

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Action {
    GetInstance,
    GetVersion,
    GetVmConfig,
    GetMachine,
    GetMmds,
    GetBalloon,
    GetBalloonStats,
    GetHinting,
    Start,
    FlushMetrics,
    CtrlAltDel,
    BootSource(BootSource),
    CpuConfig(CpuConfig),
    Drive(Drive),
    DriveUpdate(DriveUpdate),
    Nic(Nic),
    NicUpdate(NicUpdate),
    /// Possible only where there is a PCI bus, which the stand-in has not.
    Unplug,
    Machine(MachineUpdate),
    Vsock(Vsock),
    Mmds(Mmds),
    PutMmds(Value),
    PatchMmds(Value),
    Entropy(Entropy),
    Balloon(Balloon),
    BalloonUpdate(BalloonUpdate),
    BalloonStatsUpdate(BalloonStatsUpdate),
    Hinting,
    Logger(Logger),
    Metrics(Metrics),
    Serial(Serial),
    Pause,
    Resume,
    SnapshotCreate(SnapshotCreate),
    SnapshotLoad(Box<SnapshotLoad>),
}

/// An action, and whether it was asked for in a way that will be removed.
pub(crate) type Parsed = Result<(Action, bool), String>;

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| invalid(&error))
}

fn invalid(error: &impl std::fmt::Display) -> String {
    format!("An error occurred when deserializing the json body of a request: {error}.")
}

fn checked<'a>(id: Option<&&'a str>) -> Result<&'a str, String> {
    let id = id.filter(|id| !id.is_empty()).ok_or("The ID cannot be empty.")?;
    if id.chars().all(|c| c == '_' || c.is_alphanumeric()) {
        Ok(id)
    } else {
        Err("API Resource IDs can only contain alphanumeric characters and underscores.".to_owned())
    }
}

/// Reads a request; the error is the fault message of a 400.
pub(crate) fn parse(request: &Request) -> Parsed {
    let segments: Vec<&str> = request.path.trim_start_matches('/').split_terminator('/').collect();
    let first = segments.first().copied().unwrap_or("");
    let rest = segments.get(1..).unwrap_or_default();
    match (request.method.as_str(), &request.body) {
        ("GET", None) => get(first, rest).map(|action| (action, false)),
        ("GET", Some(_)) => Err("GET request cannot have a body.".to_owned()),
        ("PUT", Some(body)) => put(first, rest, body),
        ("PUT", None) => Err("Empty PUT request.".to_owned()),
        ("PATCH", None) if first == "balloon" && rest.first() == Some(&"hinting") => {
            Ok((Action::Hinting, false))
        }
        ("PATCH", Some(body)) => patch(first, rest, body),
        ("PATCH", None) => Err("Empty PATCH request.".to_owned()),
        ("DELETE", None) if first == "drives" => unplug(rest),
        ("DELETE", None) if first == "network-interfaces" => unplug(rest),
        ("DELETE", Some(_)) => Err("Empty Delete request.".to_owned()),
        (method, _) => Err(unknown(method, first)),
    }
}

fn unknown(method: &str, first: &str) -> String {
    format!("Invalid request method and/or path: {method} {first}.")
}

fn get(first: &str, rest: &[&str]) -> Result<Action, String> {
    Ok(match (first, rest.first()) {
        ("", _) => Action::GetInstance,
        ("version", _) => Action::GetVersion,
        ("vm", Some(&"config")) => Action::GetVmConfig,
        ("machine-config", _) => Action::GetMachine,
        ("mmds", _) => Action::GetMmds,
        ("balloon", None) => Action::GetBalloon,
        ("balloon", Some(&"statistics")) => Action::GetBalloonStats,
        ("balloon", Some(&"hinting")) if rest.get(1) == Some(&"status") => Action::GetHinting,
        ("balloon", Some(other)) => return Err(format!("Unrecognized GET request path `{other}`.")),
        _ => return Err(unknown("GET", first)),
    })
}

fn put(first: &str, rest: &[&str], body: &[u8]) -> Parsed {
    let action = match (first, rest.first()) {
        ("actions", _) => match json::<InstanceAction>(body)?.action_type {
            ActionType::FlushMetrics => Action::FlushMetrics,
            ActionType::InstanceStart => Action::Start,
            ActionType::SendCtrlAltDel => Action::CtrlAltDel,
        },
        ("balloon", _) => Action::Balloon(json(body)?),
        ("boot-source", _) => Action::BootSource(json(body)?),
        ("cpu-config", _) => Action::CpuConfig(json(body)?),
        ("drives", id) => {
            let id = checked(id)?;
            let drive: Drive = json(body)?;
            same_drive(id, &drive.drive_id)?;
            Action::Drive(drive)
        }
        ("network-interfaces", id) => {
            let id = checked(id)?;
            let nic: Nic = json(body)?;
            same_nic(id, &nic.iface_id)?;
            Action::Nic(nic)
        }
        ("logger", _) => Action::Logger(json(body)?),
        ("metrics", _) => Action::Metrics(json(body)?),
        ("serial", _) => Action::Serial(json(body)?),
        ("machine-config", _) => {
            let machine: Machine = json(body)?;
            let deprecated = machine.cpu_template.is_some();
            return Ok((Action::Machine(machine.into()), deprecated));
        }
        ("mmds", None) => Action::PutMmds(json(body)?),
        ("mmds", Some(&"config")) => {
            let mmds: Mmds = json(body)?;
            let deprecated = mmds.version == MmdsVersion::V1;
            return Ok((Action::Mmds(mmds), deprecated));
        }
        ("mmds", Some(other)) => return Err(format!("Unrecognized PUT request path `{other}`.")),
        ("snapshot", Some(&"create")) => Action::SnapshotCreate(json(body)?),
        ("snapshot", Some(&"load")) => return load(body),
        ("snapshot", Some(other)) => {
            return Err(unknown("PUT", &format!("/snapshot/{other}")));
        }
        ("snapshot", None) => return Err("Missing snapshot operation type.".to_owned()),
        ("vsock", _) => {
            let vsock: Vsock = json(body)?;
            let deprecated = vsock.vsock_id.is_some();
            return Ok((Action::Vsock(vsock), deprecated));
        }
        ("entropy", _) => Action::Entropy(json(body)?),
        _ => return Err(unknown("PUT", first)),
    };
    Ok((action, false))
}

fn load(body: &[u8]) -> Parsed {
    let load: SnapshotLoad = json(body)?;
    match (&load.mem_backend, &load.mem_file_path) {
        (Some(_), Some(_)) => {
            let why = "too many fields: either `mem_backend` or `mem_file_path` exclusively is required";
            return Err(invalid(&why));
        }
        (None, None) => {
            return Err(invalid(&"missing field: either `mem_backend` or `mem_file_path` is required"));
        }
        _ => {}
    }
    let deprecated = load.mem_file_path.is_some() || load.enable_diff_snapshots;
    Ok((Action::SnapshotLoad(Box::new(load)), deprecated))
}

fn patch(first: &str, rest: &[&str], body: &[u8]) -> Parsed {
    let action = match (first, rest.first()) {
        ("balloon", Some(&"statistics")) => Action::BalloonStatsUpdate(json(body)?),
        ("balloon", Some(&"hinting")) => Action::Hinting,
        ("balloon", _) => Action::BalloonUpdate(json(body)?),
        ("drives", id) => {
            let id = checked(id)?;
            let drive: DriveUpdate = json(body)?;
            same_drive(id, &drive.drive_id)?;
            Action::DriveUpdate(drive)
        }
        ("network-interfaces", id) => {
            let id = checked(id)?;
            let nic: NicUpdate = json(body)?;
            same_nic(id, &nic.iface_id)?;
            Action::NicUpdate(nic)
        }
        ("machine-config", _) => {
            let update: MachineUpdate = json(body)?;
            if update == MachineUpdate::default() {
                return Err("Empty PATCH request.".to_owned());
            }
            let deprecated = update.cpu_template.is_some();
            return Ok((Action::Machine(update), deprecated));
        }
        ("mmds", _) => Action::PatchMmds(json(body)?),
        ("vm", _) => match json::<Vm>(body)?.state {
            VmState::Paused => Action::Pause,
            VmState::Resumed => Action::Resume,
        },
        _ => return Err(unknown("PATCH", first)),
    };
    Ok((action, false))
}

fn unplug(rest: &[&str]) -> Parsed {
    checked(rest.first())?;
    Ok((Action::Unplug, false))
}

fn same_drive(path: &str, body: &str) -> Result<(), String> {
    if path == body {
        Ok(())
    } else {
        Err("The id from the path does not match the id from the body!".to_owned())
    }
}

fn same_nic(path: &str, body: &str) -> Result<(), String> {
    if path == body {
        return Ok(());
    }
    Err(format!("The id from the path [{path}] does not match the id from the body [{body}]!"))
}
