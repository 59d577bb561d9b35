//! The new server's side.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use tokio::net::UnixStream;

use super::link::Link;
use super::message::{Message, StateId};
use super::{ANSWER, LET_GO, PROTOCOL, SOCKET};
use crate::server::handover::fail_point;
use crate::server::notify::Manager;
use crate::server::sockets::{Name, Sockets};

/// A running server that would hand over.
pub(in crate::server) struct Offer {
    link: Link,
    who: String,
    sockets: Vec<Name>,
}

/// The server that has handed over and waits for our word.
pub(in crate::server) struct Predecessor {
    link: Link,
    who: String,
}

/// Asks the server of this state directory, if one runs, to hand over. It goes on as before until [`Offer::take`].
pub(in crate::server) async fn ask(state: &Path) -> anyhow::Result<Option<Offer>> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let path = state.join(SOCKET);
    let connected = tokio::time::timeout(ANSWER, UnixStream::connect(&path)).await;
    let stream = match connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => return Ok(None),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("the running server cannot be reached at {}", path.display()));
        }
    };
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let who = pid
        .map_or_else(|| "the running server".to_owned(), |pid| format!("the running server (process {pid})"));
    let mut link = Link::new(stream);
    let question = Message::Ask {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: Some(StateId::of(state).context("state_dir")?),
    };
    let said = async {
        link.send(&question, &[], ANSWER).await?;
        link.receive(ANSWER).await
    };
    match said.await.with_context(|| format!("cannot communicate with {who}"))? {
        Some(Message::Offer { sockets, .. }) => Ok(Some(Offer { link, who, sockets })),
        Some(Message::Refused { version, why }) => bail!(
            "{who}, version {version}, does not hand over: {why}; it continues. Stop it and start this one \
             instead: in mode 'leave' jobs continue meanwhile"
        ),
        Some(_) => bail!("{who} gave an unexpected answer; it continues"),
        None => bail!("{who} closed the connection; its log says why"),
    }
}

/// What the other server gave.
pub(in crate::server) struct Taken {
    pub(in crate::server) sockets: Sockets,
    pub(in crate::server) manager: Option<Manager>,
    pub(in crate::server) predecessor: Predecessor,
}

impl Offer {
    /// What the running server has.
    pub(in crate::server) fn sockets(&self) -> &[Name] {
        &self.sockets
    }

    /// Takes over. From here on the other server serves nobody until it hears [`Predecessor::ready`] or our end.
    /// Nothing when it went away instead, by a signal or a crash: then there is no server.
    pub(in crate::server) async fn take(mut self) -> anyhow::Result<Option<Taken>> {
        let Self { link, who, .. } = &mut self;
        let said = async {
            link.send(&Message::Take, &[], ANSWER).await?;
            link.receive(LET_GO).await
        };
        let (names, manager) = match said.await {
            Ok(Some(Message::Given { sockets, manager })) => (sockets, manager),
            Ok(Some(_)) => bail!("{who} gave an unexpected answer; its log says why"),
            Ok(None) => return Ok(None),
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{who} did not hand over")),
        };
        let descriptors = link.take_descriptors();
        if descriptors.len() != names.len() {
            return Err(anyhow!("{who} gave {} descriptors for {} sockets", descriptors.len(), names.len()));
        }
        let mut sockets = Sockets::default();
        for (name, descriptor) in names.into_iter().zip(descriptors) {
            sockets.add(name, descriptor);
        }
        fail_point!("handover::taken");
        Ok(Some(Taken { sockets, manager, predecessor: Predecessor { link: self.link, who: self.who } }))
    }
}

/// The ways in which a connection tells that the process at its other end is gone.
fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

impl Predecessor {
    /// Tells it that we serve, and waits until it has told the service manager and is going.
    pub(in crate::server) async fn ready(mut self) {
        fail_point!("handover::serving");
        let said = async {
            self.link.send(&Message::Ready, &[], ANSWER).await?;
            self.link.receive(ANSWER).await
        };
        match said.await {
            Ok(_) => tracing::info!("took over from {}", self.who),
            // It is gone, or will go when it has read this. Were it to take back instead, it would end us first.
            Err(error) => tracing::warn!(%error, "took over from {}, which did not confirm the end of the \
                 handover", self.who),
        }
    }
}
