//! The jailer's command line.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::firecracker::arguments::{check_id, pairs};

/// What is asked of the jailer.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) id: String,
    pub(crate) exec_file: PathBuf,
    /// File name of `exec_file`.
    pub(crate) name: String,
    pub(crate) chroot_base: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) netns: Option<PathBuf>,
    pub(crate) daemonize: bool,
    pub(crate) new_pid_ns: bool,
    pub(crate) fsize: Option<u64>,
    pub(crate) no_file: u64,
    /// A cgroup to be in, from `--cgroup-version 2` without `--cgroup`.
    pub(crate) cgroup: Option<PathBuf>,
    /// Everything behind `--`.
    pub(crate) extra: Vec<String>,
}

const VALUES: [&str; 8] =
    ["id", "exec-file", "uid", "gid", "chroot-base-dir", "netns", "cgroup-version", "parent-cgroup"];
const FLAGS: [&str; 3] = ["daemonize", "new-pid-ns", "version"];
const REPEATED: [&str; 2] = ["cgroup", "resource-limit"];

impl Arguments {
    /// The error is the jailer's sentence.
    pub(crate) fn parse(given: &[String]) -> Result<Self, String> {
        let parsing = |error: String| format!("Failed to parse arguments: {error}");
        let pairs = pairs(given, &VALUES, &FLAGS, &REPEATED).map_err(parsing)?;
        let value = |name: &str| pairs.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        let needed = |name: &str| {
            value(name).ok_or_else(|| parsing(format!("Argument '{name}' required, but not found.")))
        };
        for name in ["id", "exec-file", "uid", "gid"] {
            needed(name)?;
        }
        let id = needed("id")?.to_owned();
        check_id(&id).map_err(|error| format!("Invalid instance ID: {error}"))?;
        let (exec_file, name) = exec_file(needed("exec-file")?)?;
        let chroot_base = canonical(value("chroot-base-dir").unwrap_or("/srv/jailer"))?;
        if !chroot_base.is_dir() {
            return Err(format!("{} is not a directory", chroot_base.display()));
        }
        let number = |option: &str, what: &str| {
            let text = needed(option)?;
            text.parse::<u32>().map_err(|_| format!("Invalid {what}: {text}"))
        };
        let parent = value("parent-cgroup").unwrap_or(&name);
        if Path::new(parent)
            .components()
            .any(|part| matches!(part, Component::CurDir | Component::ParentDir | Component::RootDir))
        {
            return Err("Parent cgroup path is invalid. Path should not be absolute or contain '..' or '.'"
                .to_owned());
        }
        let cgroups: Vec<&str> =
            pairs.iter().filter(|(name, _)| *name == "cgroup").map(|(_, value)| *value).collect();
        let cgroup = cgroup(value("cgroup-version").unwrap_or("1"), &cgroups, parent)?;
        let mut limits = (None, 2048);
        for (_, text) in pairs.iter().filter(|(name, _)| *name == "resource-limit") {
            let (resource, limit) =
                text.split_once('=').ok_or_else(|| format!("Invalid format for resources limits: {text}"))?;
            let limit = limit
                .parse::<u64>()
                .map_err(|error| format!("Invalid limit value for resource: {limit}: {error}"))?;
            match resource {
                "fsize" => limits.0 = Some(limit),
                "no-file" => limits.1 = limit,
                _ => return Err(format!("Invalid resource argument: {resource}")),
            }
        }
        let extra = given.iter().position(|word| word == "--").map_or(given.len(), |at| at + 1);
        Ok(Self {
            id,
            exec_file,
            chroot_base,
            uid: number("uid", "uid")?,
            gid: number("gid", "gid")?,
            netns: value("netns").map(PathBuf::from),
            daemonize: value("daemonize").is_some(),
            new_pid_ns: value("new-pid-ns").is_some(),
            fsize: limits.0,
            no_file: limits.1,
            cgroup,
            extra: given[extra..].to_vec(),
            name,
        })
    }
}

fn canonical(path: &str) -> Result<PathBuf, String> {
    fs::canonicalize(path).map_err(|error| format!("Failed to canonicalize path {path}: {error}"))
}

fn exec_file(path: &str) -> Result<(PathBuf, String), String> {
    let path = canonical(path)?;
    if !path.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let name = name.ok_or_else(|| format!("Failed to extract filename from path {}", path.display()))?;
    Ok((path, name))
}

/// The stand-in sets no values of cgroups: the driver has its own cgroups and gives none.
fn cgroup(version: &str, values: &[&str], parent: &str) -> Result<Option<PathBuf>, String> {
    let version = match version.parse::<u8>() {
        Ok(version) if version == 1 || version == 2 => version,
        _ => return Err(format!("{version} is an invalid cgroup version specifier")),
    };
    if let Some(value) = values.first() {
        return Err(format!("Invalid format for cgroups: {value} (the stand-in takes none)"));
    }
    if version == 1 {
        return Ok(None);
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let root = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    });
    let root = root.ok_or("Hierarchy not found: cgroupsv2")?;
    Ok(Some(root.join(parent)).filter(|dir| dir.exists()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_checked_as_the_real_jailer_checks_them() {
        let good = "--id m-1 --exec-file /proc/self/exe --uid 5 --gid 6 --chroot-base-dir /tmp \
                    --resource-limit fsize=9 --resource-limit no-file=64 -- --api-sock api.sock";
        let arguments = parse(good).unwrap();
        assert_eq!((arguments.uid, arguments.gid, arguments.fsize, arguments.no_file), (5, 6, Some(9), 64));
        assert_eq!(arguments.extra, ["--api-sock", "api.sock"]);
        for (from, to, word) in [
            ("--id m-1", "", "'id' required"),
            ("m-1", "m_1", "Invalid char (_)"),
            ("--uid 5", "--uid five", "Invalid uid: five"),
            ("fsize=9", "fsize", "Invalid format for resources limits"),
            ("fsize=9", "size=9", "Invalid resource argument: size"),
            ("fsize=9", "fsize=x", "Invalid limit value"),
            ("/tmp", "/nonexistent", "Failed to canonicalize"),
            ("--uid 5", "--uid 5 --cgroup-version 3", "3 is an invalid cgroup version"),
            ("--uid 5", "--uid 5 --parent-cgroup /a", "Parent cgroup path is invalid"),
            ("--uid 5", "--uid 5 --seccomp", "wasn't expected"),
        ] {
            let error = parse(&good.replace(from, to)).unwrap_err();
            assert!(error.contains(word), "{to}: {error}");
        }
    }
}
