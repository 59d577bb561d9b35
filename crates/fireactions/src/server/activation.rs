//! Sockets that the service manager opened for us: sd_listen_fds(3). With them no client is refused while no server
//! runs at all, as over a restart or a crash.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use fireactions_config::Config;
use listenfd::ListenFd;

use super::listen;
use super::sockets::{Name, Role, Sockets};

/// What was passed, not yet looked at.
#[derive(Default)]
pub(crate) struct Activation {
    passed: Vec<(String, Passed)>,
}

enum Passed {
    Unix(UnixListener),
    Tcp(TcpListener),
    Other,
}

impl Activation {
    /// Takes the sockets and removes the variables that speak of them, so that no child takes them too. To be
    /// called while there is one thread: others may read the environment.
    pub(crate) fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut sockets = ListenFd::from_env();
        let passed = (0..sockets.len()).map(|n| {
            let name = names.next().unwrap_or_default().to_owned();
            let socket = match (sockets.take_unix_listener(n), sockets.take_tcp_listener(n)) {
                (Ok(Some(unix)), _) => Passed::Unix(unix),
                (_, Ok(Some(tcp))) => Passed::Tcp(tcp),
                _ => Passed::Other,
            };
            (name, socket)
        });
        Self { passed: passed.collect() }
    }

    /// Those that the configuration has a use for: known by their `FileDescriptorName=` (`api`, `metrics`), or else by
    /// their address. The others are closed with a warning.
    pub(super) fn sockets(self, config: &Config) -> Sockets {
        let wanted = listen::wanted(config);
        let find = |role: Role| wanted.iter().find(|name| name.role == role).cloned();
        let mut sockets = Sockets::default();
        for (name, socket) in self.passed {
            let at = address(&socket);
            let place = match &socket {
                Passed::Unix(_) => {
                    find(Role::Api).filter(|wanted| name == "api" || Some(&wanted.at) == at.as_ref())
                }
                Passed::Tcp(_) => match name.as_str() {
                    "api" => find(Role::Tcp),
                    "metrics" => find(Role::Metrics),
                    _ => wanted.iter().find(|wanted| Some(&wanted.at) == at.as_ref()).cloned(),
                },
                Passed::Other => None,
            };
            let Some(place) = place.filter(|place| !sockets.has(place.role)) else {
                let at = at.unwrap_or_else(|| "no listening socket".to_owned());
                tracing::warn!(
                    name,
                    at,
                    "the service manager passed a socket that the configuration does not use"
                );
                continue;
            };
            let place = Name { ours: false, ..place };
            match socket {
                Passed::Unix(socket) => sockets.add(place, socket),
                Passed::Tcp(socket) => sockets.add(place, socket),
                Passed::Other => {}
            }
        }
        sockets
    }
}

fn address(socket: &Passed) -> Option<String> {
    match socket {
        Passed::Unix(socket) => Some(socket.local_addr().ok()?.as_pathname()?.display().to_string()),
        Passed::Tcp(socket) => Some(socket.local_addr().ok()?.to_string()),
        Passed::Other => None,
    }
}
