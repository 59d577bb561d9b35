//! The child's half of starting a program: a fresh copy of this binary that becomes the job's user in the job's
//! control group, session and directory, and then is replaced by the program.
//!
//! A new process rather than code between fork and exec: it may allocate, read `/etc/passwd` and say in plain words
//! what is wrong, none of which the child of a threaded process may. Its request comes in, and its complaint goes
//! out, over a socket on descriptor 0; a success closes the socket by exec.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::{Access, CWD};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use crate::users::{self, User};
use crate::{inside, rootless};

/// First argument that starts the agent this way.
pub(crate) const VERB: &str = "stage";

/// Most bytes of a request; the protocol's own bound is lower.
const MOST_REQUEST: u64 = 4 * 1024 * 1024;

/// Most bytes of `/etc/passwd` and `/etc/group` that are read.
const MOST_ACCOUNTS: u64 = 4 * 1024 * 1024;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to become.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    /// Program and arguments; the user's login shell when empty.
    pub(crate) argv: Vec<String>,
    /// Environment. `PATH`, `HOME` and `HOSTNAME` (with a terminal also `TERM`, for rootless engines `XDG_RUNTIME_DIR`) are added
    /// when absent.
    pub(crate) env: Vec<(String, String)>,
    /// As in an OCI image.
    pub(crate) user: String,
    /// Made when absent. `""` is `/`.
    pub(crate) workdir: String,
    /// Control group to enter.
    pub(crate) cgroup: Option<PathBuf>,
    /// Opened as standard input.
    pub(crate) stdin: PathBuf,
    /// Standard input is a terminal that becomes the controlling one.
    pub(crate) terminal: bool,
    /// Files to be given to the user.
    pub(crate) give: Vec<PathBuf>,
}

/// Does not return when the program starts.
pub(crate) fn main() -> ExitCode {
    // Not inherited by the program: a copy that closes on exec, and descriptor 0 itself is replaced below.
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::from(127) };
    let mut socket = UnixStream::from(socket);
    let failed = match read(&mut socket) {
        Ok(request) => become_program(&request),
        Err(error) => format!("the agent's request cannot be read: {error}"),
    };
    let _ = socket.write_all(failed.as_bytes());
    ExitCode::from(127)
}

fn read(socket: &mut UnixStream) -> io::Result<Request> {
    let mut bytes = Vec::new();
    socket.take(MOST_REQUEST).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Returns only why it could not.
fn become_program(request: &Request) -> String {
    if let Err(error) = prepare(request) {
        return format!("cannot prepare the process: {error}");
    }
    let accounts = |path| read_accounts(path).unwrap_or_default();
    let user = match users::resolve(&request.user, &accounts("/etc/passwd"), &accounts("/etc/group")) {
        Ok(user) => user,
        Err(error) => return error,
    };
    for path in &request.give {
        // A file that is gone again is nobody's.
        let _ = std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid));
    }
    if let Err(error) = enter_workdir(&request.workdir, &user) {
        return format!("cannot use the working directory '{}': {error}", request.workdir);
    }
    let runtime_dir = rootless::prepare(&user, request.cgroup.as_deref());
    if let Err(error) = become_user(request, &user) {
        return format!("cannot become user {}:{}: {error}", user.uid, user.gid);
    }
    if runtime_dir.is_some() {
        rootless::configure(&user, request.cgroup.as_deref());
    }

    let env = environment(request, &user, runtime_dir.as_deref());
    let shell = [user.shell];
    let argv = if request.argv.is_empty() { &shell[..] } else { &request.argv[..] };
    let path = env.iter().find(|(key, _)| key == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let program = match look_up(&argv[0], path) {
        Ok(program) => program,
        Err(error) => return error,
    };
    let error = Command::new(&program).arg0(&argv[0]).args(&argv[1..]).env_clear().envs(env).exec();
    let hint = match error.kind() {
        io::ErrorKind::NotFound => " (its interpreter or dynamic linker is missing in the image)",
        _ => "",
    };
    format!("cannot start '{}': {error}{hint}", program.display())
}

/// Everything that needs root and does not depend on the user.
fn prepare(request: &Request) -> io::Result<()> {
    // First, so that whatever follows is counted as the job's.
    if let Some(cgroup) = &request.cgroup {
        std::fs::write(cgroup.join("cgroup.procs"), "0")?;
    }
    // The agent is exempt from OOM kills; its children must not be.
    std::fs::write("/proc/self/oom_score_adj", "0")?;
    rustix::process::setsid()?;
    let stdin = std::fs::File::options()
        .read(true)
        .write(request.terminal)
        .custom_flags(nix::libc::O_NOCTTY)
        .open(&request.stdin)?;
    rustix::stdio::dup2_stdin(&stdin)?;
    if request.terminal {
        rustix::process::ioctl_tiocsctty(io::stdin())?;
    }
    // As GitHub's own images have it; the most that systemd gives to those that ask for more.
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(65_536), maximum: Some(524_288) })?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

/// The text of `/etc/passwd` or `/etc/group`.
pub(crate) fn read_accounts(path: &str) -> io::Result<String> {
    inside::text(Path::new("/"), Path::new(path), MOST_ACCOUNTS)
}

fn enter_workdir(workdir: &str, user: &User) -> io::Result<()> {
    let dir = Path::new(if workdir.is_empty() { "/" } else { workdir });
    if !dir.is_absolute() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not an absolute path"));
    }
    if !dir.exists() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        // Made for the job, so the job may write there.
        std::os::unix::fs::chown(dir, Some(user.uid), Some(user.gid))?;
    }
    std::env::set_current_dir(dir)
}

fn become_user(request: &Request, user: &User) -> io::Result<()> {
    if request.terminal {
        // As login does: mode 620, group tty.
        rustix::fs::fchown(io::stdin(), Some(rustix::fs::Uid::from_raw(user.uid)), None)?;
    } else {
        // `/dev/stdout` is opened again by shell scripts; a pipe that belongs to root would refuse.
        for fd in [io::stdout().as_fd(), io::stderr().as_fd()] {
            let _ = rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(user.uid)), None);
        }
    }
    let groups: Vec<nix::unistd::Gid> =
        user.groups.iter().map(|gid| nix::unistd::Gid::from_raw(*gid)).collect();
    nix::unistd::setgroups(&groups)?;
    nix::unistd::setgid(nix::unistd::Gid::from_raw(user.gid))?;
    nix::unistd::setuid(nix::unistd::Uid::from_raw(user.uid))?;
    Ok(())
}

fn environment(request: &Request, user: &User, runtime_dir: Option<&Path>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (key, value) in &request.env {
        // Neither can be handed to a program.
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            continue;
        }
        // The last one counts, as with `docker run --env`.
        match env.iter_mut().find(|(known, _)| known == key) {
            Some(entry) => entry.1.clone_from(value),
            None => env.push((key.clone(), value.clone())),
        }
    }
    let hostname = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut default = |key: &str, value: &dyn Fn() -> String| {
        if !env.iter().any(|(known, value)| known == key && !value.is_empty()) {
            env.retain(|(known, _)| known != key);
            env.push((key.to_owned(), value()));
        }
    };
    default("PATH", &|| DEFAULT_PATH.to_owned());
    default("HOME", &|| user.home.clone());
    default("HOSTNAME", &hostname);
    if let Some(dir) = runtime_dir {
        default("XDG_RUNTIME_DIR", &|| dir.to_string_lossy().into_owned());
    }
    if request.terminal {
        default("TERM", &|| "xterm".to_owned());
    }
    env
}

/// The file to execute: `name` itself when it holds a slash, else the first executable in `path`.
fn look_up(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.is_empty() {
        return Err("there is no program to start: its name is empty".to_owned());
    }
    if name.contains('/') {
        return match std::fs::metadata(name) {
            Ok(found) if found.is_dir() => Err(format!("cannot start '{name}': it is a directory")),
            Ok(_) if !executable(Path::new(name)) => {
                Err(format!("cannot start '{name}': it is not executable"))
            }
            Ok(_) => Ok(PathBuf::from(name)),
            Err(error) => Err(format!("cannot start '{name}': {error}")),
        };
    }
    let mut refused = false;
    for dir in path.split(':') {
        let file = Path::new(if dir.is_empty() { "." } else { dir }).join(OsStr::new(name));
        if std::fs::metadata(&file).is_ok_and(|found| found.is_file()) {
            if executable(&file) {
                return Ok(file);
            }
            refused = true;
        }
    }
    let what = if refused { "is not executable" } else { "was not found" };
    Err(format!("program '{name}' {what} in PATH={path}"))
}

fn executable(path: &Path) -> bool {
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, rustix::fs::AtFlags::empty()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(env: &[(&str, &str)]) -> Request {
        Request {
            argv: vec![],
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            user: String::new(),
            workdir: String::new(),
            cgroup: None,
            stdin: "/dev/null".into(),
            terminal: true,
            give: vec![],
        }
    }

    fn root() -> User {
        users::resolve("", "root:x:0:0::/root:/bin/sh", "").unwrap()
    }

    #[test]
    fn what_the_image_does_not_say_has_defaults() {
        let env = environment(
            &request(&[("A", "1"), ("HOME", ""), ("A", "2"), ("bad=", "x"), ("B", "\0")]),
            &root(),
            Some(Path::new("/run/user/0")),
        );
        let get =
            |key: &str| env.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!(get("A"), ["2"]);
        assert_eq!(get("HOME"), ["/root"]);
        assert_eq!(get("PATH"), [DEFAULT_PATH]);
        assert_eq!(get("XDG_RUNTIME_DIR"), ["/run/user/0"]);
        assert_eq!(get("TERM"), ["xterm"]);
        assert_eq!(get("HOSTNAME").len(), 1);
        assert!(get("bad=").is_empty() && get("B").is_empty());
    }

    #[test]
    fn what_the_image_says_is_kept() {
        let env = environment(&request(&[("PATH", "/x"), ("HOME", "/y"), ("HOSTNAME", "z")]), &root(), None);
        assert!(env.contains(&("PATH".to_owned(), "/x".to_owned())));
        assert!(env.contains(&("HOME".to_owned(), "/y".to_owned())));
        assert!(env.contains(&("HOSTNAME".to_owned(), "z".to_owned())));
    }

    #[test]
    fn programs_are_found_in_path_and_refusals_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        std::os::unix::fs::symlink("/bin/sh", dir.path().join("tool")).unwrap();
        assert_eq!(look_up("tool", &format!("/nowhere:{path}")).unwrap(), dir.path().join("tool"));
        assert!(look_up("plain", path).unwrap_err().contains("is not executable"));
        assert!(look_up("ghost", path).unwrap_err().contains(&format!("was not found in PATH={path}")));
        assert!(look_up(path, "").unwrap_err().contains("is a directory"));
        assert!(look_up("", path).is_err());
    }
}
