//! The link to one machine's agent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connection;
use super::endpoint::Endpoint;
use super::error::LinkError;
use super::proof::Proof;
use super::run_state::RunState;
use super::state::{Shared, State};
use crate::limits::SILENCE;
use crate::{AgentSecret, GuestHello, HostMsg, Identity, Unusable};

/// The first version whose agents can be asked to settle.
const SETTLE_VERSION: u16 = 4;

/// The first version whose agents can be asked to release disks.
const RELEASE_VERSION: u16 = 5;

/// What the guest answered, once it has.
type Answer = Option<Result<(), String>>;

/// A machine's agent, wherever the connection stands. Cheap to clone; the task behind it ends when the last clone is
/// dropped or [`Link::close`] is called. No call has a deadline of its own: the caller knows how long is too long.
#[derive(Clone)]
pub struct Link {
    pub(super) shared: Arc<Shared>,
    _owner: Arc<Owner>,
    /// Closed by the end of the task.
    task: watch::Receiver<()>,
}

/// How a link is to be kept.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// An agent that was there and says nothing for this long is given up.
    pub silence: Duration,
    /// What the machine is given with its identity, and what its agent proves itself with from then on. Without one,
    /// whoever answers is believed: for agents of version 1, and for machines that never get an identity.
    pub secret: Option<AgentSecret>,
    /// An earlier link has given the secret: nobody is believed without it, from the first word on.
    pub secret_given: bool,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { silence: SILENCE, secret: None, secret_given: false }
    }
}

/// Ends the task with the last clone.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end(LinkError::Closed);
    }
}

impl Link {
    /// Starts to look for the agent, again and again, until the link is closed. Has to be called in a tokio runtime.
    pub fn open(endpoint: Endpoint, machine: impl Into<String>) -> Link {
        Self::open_with(endpoint, machine, LinkOptions::default())
    }

    /// The same, kept otherwise.
    pub fn open_with(endpoint: Endpoint, machine: impl Into<String>, options: LinkOptions) -> Link {
        let LinkOptions { silence, secret, secret_given } = options;
        let proof = Proof { secret, given: secret_given };
        let shared = Arc::new(Shared::new(machine.into(), silence, proof));
        let (runs, task) = watch::channel(());
        tokio::spawn(connection::run(Arc::clone(&shared), endpoint, runs));
        Link { _owner: Arc::new(Owner(Arc::clone(&shared))), shared, task }
    }

    /// A link without a task behind it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn over(shared: &Arc<Shared>) -> Link {
        let (_, task) = watch::channel(());
        Link { _owner: Arc::new(Owner(Arc::clone(shared))), shared: Arc::clone(shared), task }
    }

    /// What the agent said at the start of the latest session; waits for the first.
    pub async fn hello(&self) -> Result<GuestHello, LinkError> {
        self.shared
            .wait(|state| match (&state.ended, &state.hello) {
                (Some(error), _) => Some(Err(error.clone())),
                (None, hello) => hello.clone().map(Ok),
            })
            .await
    }

    /// Gives the machine its identity, and the link's secret with it. Does nothing when it has one. Gives what the guest says of
    /// disks that outlive it and cannot be mounted.
    ///
    /// # Errors
    /// [`LinkError::Guest`] when the agent could not set it up.
    pub async fn configure(&self, identity: Identity) -> Result<Vec<Unusable>, LinkError> {
        let secret = self.shared.lock().proof.secret.clone();
        let message = HostMsg::Configure { identity, secret };
        let is_done = |state: &State| state.job.run != RunState::Idle;
        self.ask(&message, is_done, |state| &mut state.configured).await?;
        Ok(std::mem::take(&mut self.shared.lock().unusable))
    }

    /// Has a machine whose job is over end what of it still runs, and write back the disks that outlive the machine. Nobody writes to
    /// them from then on.
    ///
    /// # Errors
    /// [`LinkError::Guest`] when one of them is not to be kept, or the agent is of before it could.
    pub async fn release(&self) -> Result<(), LinkError> {
        let version = self.hello().await?.version;
        if version < RELEASE_VERSION {
            let why = format!(
                "its agent speaks version {version}, and only from {RELEASE_VERSION} on it can release disks"
            );
            return Err(LinkError::Guest(why));
        }
        self.ask(&HostMsg::Release, |_| false, |state| &mut state.released).await
    }

    /// Has a machine that is to be frozen wait until its image's own init has come up, and write back its disk. Does
    /// nothing when it has its identity.
    ///
    /// # Errors
    /// [`LinkError::Guest`] when that did not come about within `timeout`, or the agent is of before it could.
    pub async fn settle(&self, timeout: Duration) -> Result<(), LinkError> {
        let version = self.hello().await?.version;
        if version < SETTLE_VERSION {
            let why = format!(
                "its agent speaks version {version}, and only from {SETTLE_VERSION} on it can settle"
            );
            return Err(LinkError::Guest(why));
        }
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let is_done = |state: &State| state.job.run != RunState::Idle;
        self.ask(&HostMsg::Settle { timeout_ms }, is_done, |state| &mut state.settled).await
    }

    /// Asks a guest, again after each loss of the connection, unless it `is_done` by then. `answer` is where the answer is put.
    async fn ask(
        &self,
        message: &HostMsg,
        is_done: fn(&State) -> bool,
        answer: fn(&mut State) -> &mut Answer,
    ) -> Result<(), LinkError> {
        loop {
            let connected = self.shared.connected().await?;
            let session = connected.session;
            let done = self.shared.update(|state| {
                *answer(state) = None;
                is_done(state)
            });
            if done {
                return Ok(());
            }
            match connected.say(message).await {
                Ok(()) => {}
                Err(LinkError::Disconnected) => {
                    self.shared.gone(session).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let answered = self
                .shared
                .wait(|state| {
                    if let Some(error) = &state.ended {
                        return Some(Some(Err(error.clone())));
                    }
                    if state.session != session || state.connected.is_none() {
                        return Some(None);
                    }
                    answer(state).take().map(|answer| Some(answer.map_err(LinkError::Guest)))
                })
                .await;
            if let Some(answered) = answered {
                return answered;
            }
        }
    }

    /// Asks the guest to end all processes and power off. Returns when the request is on its way.
    pub async fn power_off(&self) -> Result<(), LinkError> {
        self.deliver(&HostMsg::PowerOff).await
    }

    /// Sends a message that has no answer.
    pub(super) async fn deliver(&self, message: &HostMsg) -> Result<(), LinkError> {
        loop {
            let connected = self.shared.connected().await?;
            match connected.say(message).await {
                Err(LinkError::Disconnected) => self.shared.gone(connected.session).await,
                other => return other,
            }
        }
    }

    /// Returns when the link has ended for good.
    pub async fn closed(&self) {
        self.shared.wait(|state| state.ended.is_some().then_some(())).await;
    }

    /// Returns when an agent that was there has said nothing for the link's time of silence, although it was looked for
    /// all the time: after half of it over a fresh connection. When the connection breaks, only the second half is
    /// waited for. Pends for ever on a link that has ended. Cancel-safe: the time goes on when nobody waits.
    pub async fn silent(&self) {
        let limit = self.shared.silence / 2;
        loop {
            let lost = self.shared.wait(|state| state.lost.filter(|_| state.ended.is_none())).await;
            let found = self.shared.wait(|state| (state.lost != Some(lost)).then_some(()));
            if tokio::time::timeout_at((lost + limit).into(), found).await.is_err() {
                return;
            }
        }
    }

    /// Ends the link. The guest goes on with its job.
    pub fn close(&self) {
        self.shared.end(LinkError::Closed);
    }

    /// Ends the link and returns when its sockets are closed: the agent is connected to nobody then.
    pub async fn shut(&self) {
        self.close();
        let mut task = self.task.clone();
        while task.changed().await.is_ok() {}
    }

    /// Why the link has ended, once it has.
    pub fn failure(&self) -> Option<LinkError> {
        self.shared.lock().ended.clone()
    }
}

impl Shared {
    /// Waits until this session is over.
    pub(super) async fn gone(&self, session: u64) {
        self.wait(|state| {
            (state.ended.is_some() || state.session != session || state.connected.is_none()).then_some(())
        })
        .await;
    }
}
