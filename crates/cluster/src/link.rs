//! The connection to NATS. It comes back by itself; what is asked meanwhile fails at its deadline.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions};
use fireactions_model::ExponentialBackoff;
use tokio::time::{sleep, timeout};

use crate::creds;
use crate::settings::Settings;
use crate::trouble::{Trouble, words};

/// For one server to take a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// For all of them together.
const OPEN: Duration = Duration::from_secs(15);
/// For one answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(2);
/// A connection that is down for so long is lost; one that comes back before is not missed.
const BLINK: Duration = Duration::from_millis(800);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A server that says nothing for two of these is gone.
const PING: Duration = Duration::from_secs(5);
/// Pauses between tries to connect again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(4));

/// A connection. Clones share it; it ends with the last.
#[derive(Clone)]
pub struct Link {
    pub(crate) settings: Settings,
    client: Client,
    pub(crate) context: Context,
}

impl Link {
    /// Connects, once.
    ///
    /// # Errors
    /// When no server answers in time, or it does not take this host.
    pub async fn open(settings: &Settings) -> Result<Self, Trouble> {
        let urls = || settings.where_();
        if let Some(read) = &settings.creds {
            // Before anything is asked: what is wrong with the file is said as it is.
            let creds = read().map_err(Trouble::Credentials)?;
            creds::parse(&creds).map_err(Trouble::Credentials)?;
        }
        let connecting = timeout(OPEN, Box::pin(options(settings).connect(settings.urls.clone())));
        let client = match connecting.await {
            Ok(client) => client.map_err(|error| trouble(settings, &error))?,
            Err(_) => {
                return Err(Trouble::Unreachable { urls: urls(), why: format!("no answer in {OPEN:?}") });
            }
        };
        let context = jetstream::context::ContextBuilder::new()
            .timeout(ANSWER)
            .ack_timeout(ANSWER)
            .build(client.clone());
        Ok(Self { settings: settings.clone(), client, context })
    }

    /// Whether it is connected now.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns when it has been down for a while.
    pub(crate) async fn lost(&self) {
        let mut down = Duration::ZERO;
        while down < BLINK {
            sleep(LOOK).await;
            down = if self.is_up() { Duration::ZERO } else { down + LOOK };
        }
    }

    /// That it is down, in words.
    pub(crate) fn unreachable(&self) -> Trouble {
        let why = "the connection is lost, and is tried again and again".to_owned();
        Trouble::Unreachable { urls: self.settings.where_(), why }
    }

    /// The server that it is connected to, for people: its version and name.
    pub fn server(&self) -> String {
        let info = self.client.server_info();
        format!("nats-server {} ({})", info.version, info.server_name)
    }

    /// Says good-bye; what is under way is lost.
    pub async fn close(self) {
        // Nobody waits for a server that does not answer.
        let _ = timeout(ANSWER, self.client.drain()).await;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn options(settings: &Settings) -> ConnectOptions {
    let options = match settings.creds.clone() {
        Some(read) => ConnectOptions::with_auth_callback(move |nonce| {
            let read = read.clone();
            async move {
                let creds = read().map_err(async_nats::AuthError::new)?;
                creds::answer(&creds, &nonce)
            }
        }),
        None => ConnectOptions::new(),
    };
    let pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
    let mut options = options
        .name(format!("fireactions {}", settings.host))
        .connection_timeout(CONNECT)
        .request_timeout(Some(ANSWER))
        .ping_interval(PING)
        .require_tls(settings.require_tls)
        // What a server tells of others may be addresses that only it can reach, or that have no certificate.
        .ignore_discovered_servers()
        .reconnect_delay_callback(move |attempts| {
            let failures = u32::try_from(attempts).unwrap_or(u32::MAX);
            ExponentialBackoff::jitter(pauses.after(failures).delay(), rand::random())
        })
        .event_callback(|event| async move { tracing::debug!(%event, "NATS") });
    if let Some(ca) = &settings.ca_file {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &settings.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    options
}

fn trouble(settings: &Settings, error: &ConnectError) -> Trouble {
    let (urls, why) = (settings.where_(), words(error));
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            Trouble::Refused { urls, why }
        }
        ConnectErrorKind::Tls => Trouble::Tls { urls, why },
        // What breaks a handshake comes as an error of the connection.
        ConnectErrorKind::Io if is_of_tls(&why) => Trouble::Tls { urls, why },
        _ => Trouble::Unreachable { urls, why },
    }
}

fn is_of_tls(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    ["certificate", "tls", "handshake", "unknownissuer", "certs"].iter().any(|word| why.contains(word))
}
