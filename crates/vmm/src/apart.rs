//! Namespaces of its own for each VMM process, with nothing in them: whoever takes a VMM over finds no way to a network, none
//! of the host's abstract Unix sockets, and none of its System V shared memory and message queues.
//!
//! QEMU gets its tap open. Firecracker opens it by its name, so the tap is made there, and its name is moved to the
//! server's namespace once Firecracker has it.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::MachineId;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::VmmError;

/// The kernel answers at once, or waits for other changes of its networks.
const DEADLINE: Duration = Duration::from_secs(10);

const OWN: &str = "/proc/thread-self/ns/net";

/// Whether a machine is this server's: a VMM cannot be told by its network namespace when it has one of its own, and other
/// servers of the host have machines, too.
#[derive(Clone)]
pub struct Ours(Arc<dyn Fn(&MachineId) -> bool + Send + Sync>);

impl Ours {
    /// Asked on threads that may wait, in the server's network namespace.
    pub fn new(is_ours: impl Fn(&MachineId) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_ours))
    }

    pub(crate) fn is(&self, id: &MachineId) -> bool {
        (self.0)(id)
    }
}

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ours(…)")
    }
}

/// Whether this process can make network namespaces. Where it cannot, the log says what that means.
pub(crate) fn can() -> bool {
    let tried = inside(|| Ok(()));
    if let Err(error) = &tried {
        tracing::warn!(
            %error,
            "no network namespace can be made (this needs root and CAP_SYS_ADMIN): a guest that takes over its VMM can reach \
             the host's network and its abstract Unix sockets"
        );
    }
    tried.is_ok()
}

/// Starts a program in a new namespace, or, where it is not to be apart, in this one.
pub(crate) fn spawn(command: &mut Command, apart: bool) -> io::Result<Child> {
    if apart { inside(|| command.spawn()) } else { command.spawn() }
}

/// Starts a program in a new namespace that has these taps, which `owner` may open.
pub(crate) fn spawn_with_taps(
    command: &mut Command,
    taps: &[&str],
    owner: u32,
) -> Result<(Child, Taps), VmmError> {
    let program = command.get_program().to_owned();
    let failed = |source| VmmError::Program { program: program.into(), source };
    let mut lost = None;
    let made = inside(|| {
        for name in taps {
            crate::tap::create(name, owner).inspect_err(|_| lost = Some((*name).to_owned()))?;
        }
        let namespace = File::open(OWN)?;
        Ok((command.spawn()?, namespace))
    });
    match (made, lost) {
        (Ok((child, namespace)), _) => {
            Ok((child, Taps { names: taps.iter().map(|&name| name.to_owned()).collect(), namespace }))
        }
        (Err(source), Some(tap)) => Err(VmmError::Tap { tap, source }),
        (Err(source), None) => Err(failed(source)),
    }
}

/// Taps in a VMM's namespace.
#[derive(Debug)]
pub(crate) struct Taps {
    names: Vec<String>,
    namespace: File,
}

impl Taps {
    /// Moves the taps to the calling thread's namespace: they are down there, on no bridge. To be called when the VMM has
    /// them open.
    pub(crate) async fn hand_out(self) -> Result<(), VmmError> {
        let failed = |tap: &str| {
            let tap = tap.to_owned();
            move |source| VmmError::Tap { tap, source }
        };
        let first = self.names.first().cloned().unwrap_or_default();
        let work = tokio::task::spawn_blocking(move || {
            let to = File::open(OWN).map_err(failed(&first))?;
            let Self { names, namespace } = self;
            let moved = std::thread::scope(|scope| {
                let work = || {
                    setns(&namespace, CloneFlags::CLONE_NEWNET)
                        .map_err(|error| failed(&first)(error.into()))?;
                    names.iter().try_for_each(|name| send(name, &to).map_err(failed(name)))
                };
                let thread = std::thread::Builder::new().name("vmm-taps".to_owned());
                Ok(thread.spawn_scoped(scope, work).map_err(failed(&first))?.join())
            })?;
            moved.unwrap_or_else(|_| {
                Err(failed(&first)(io::Error::other("the thread that moves it panicked")))
            })
        });
        work.await.unwrap_or_else(|error| {
            Err(VmmError::Tap { tap: String::new(), source: io::Error::other(error) })
        })
    }
}

/// Does `work` on a thread in a new network and a new IPC namespace.
fn inside<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let work = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            // Where the service may make one, which the shipped unit does not let it: users differ all the same.
            let _ = unshare(CloneFlags::CLONE_NEWIPC);
            work()
        };
        let thread = std::thread::Builder::new().name("vmm-apart".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts the VMM panicked")))
    })
}

/// Moves a link of this thread's namespace to another by `RTM_SETLINK` (rtnetlink(7)).
fn send(name: &str, to: &File) -> io::Result<()> {
    const SETLINK: u16 = libc::RTM_SETLINK;
    const FLAGS: u16 = 0x1 | 0x4; // NLM_F_REQUEST, NLM_F_ACK
    const ERROR: u16 = 2; // NLMSG_ERROR
    let index = nix::net::if_::if_nametoindex(name)?;
    let mut request = Vec::with_capacity(40);
    request.extend_from_slice(&40_u32.to_ne_bytes());
    request.extend_from_slice(&SETLINK.to_ne_bytes());
    request.extend_from_slice(&FLAGS.to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // number and port of the message
    request.extend_from_slice(&[0; 4]); // family and type of the link
    request.extend_from_slice(&index.to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // no flag of it changes
    request.extend_from_slice(&8_u16.to_ne_bytes());
    request.extend_from_slice(&libc::IFLA_NET_NS_FD.to_ne_bytes());
    request.extend_from_slice(&to.as_raw_fd().to_ne_bytes());
    // Of netlink's protocols the first, NETLINK_ROUTE.
    let kind = (AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC);
    let socket: OwnedFd = rustix::net::socket_with(kind.0, kind.1, kind.2, None)?;
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(DEADLINE))?;
    rustix::net::send(&socket, &request, SendFlags::empty())?;
    let mut answer = [0; 256];
    let (count, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let word = |at: usize| answer[..count].get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
    let kind = answer[..count].get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    match (kind, word(16)) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::Error::other("the kernel's answer is not valid")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::process::Stdio;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    fn said(mut child: Child) -> String {
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        text
    }

    #[test]
    fn a_process_apart_finds_no_network_and_no_abstract_socket() {
        let name = format!("fireactions-apart-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _listener = UnixListener::bind_addr(&address).unwrap();
        let look = "cat /proc/net/unix /proc/net/route; ls /proc/sys/net/ipv4/conf";
        let beside = said(spawn(&mut shell(look), false).unwrap());
        assert!(beside.contains(&name), "the look finds it where it is: {beside}");
        let apart = said(spawn(&mut shell(look), true).unwrap());
        assert!(!apart.contains('@') && !apart.contains("eth"), "{apart}");
        let devices = apart.lines().filter(|line| !line.contains(':') && !line.contains("Iface"));
        assert!(devices.count() <= 4, "all, default, lo: {apart}");
    }

    /// As a driver does it: the program has the tap open when it is moved, and frames still come through.
    #[tokio::test]
    async fn a_tap_that_a_program_has_open_is_handed_out() {
        let name = format!("faapart{}", std::process::id() % 100_000);
        let run = {
            let name = name.clone();
            move || {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut sleep = shell("exec sleep 60");
                    let (mut child, taps) = spawn_with_taps(&mut sleep, &[&name], 0).unwrap();
                    let namespace = taps.namespace.try_clone().unwrap();
                    let opened = {
                        let name = name.clone();
                        let open = move || {
                            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                            crate::tap::open(&name).unwrap()
                        };
                        std::thread::spawn(open).join().unwrap()
                    };
                    assert!(crate::tap::open(&name).is_err(), "it is not here yet");
                    taps.hand_out().await.unwrap();
                    assert!(nix::net::if_::if_nametoindex(name.as_str()).is_ok(), "it is here");
                    let up = Command::new("ip").args(["link", "set", &name, "up"]).status().unwrap();
                    assert!(up.success());
                    // The kernel asks for its neighbours as soon as a link with IPv6 is up.
                    let mut wait = [rustix::event::PollFd::new(&opened, rustix::event::PollFlags::IN)];
                    let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
                    assert_eq!(rustix::event::poll(&mut wait, Some(&limit)).unwrap(), 1, "no frame came");
                    child.kill().unwrap();
                    child.wait().unwrap();
                });
            }
        };
        tokio::task::spawn_blocking(|| std::thread::spawn(run).join().unwrap()).await.unwrap();
    }
}
