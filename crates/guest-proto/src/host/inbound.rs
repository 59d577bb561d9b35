//! What comes from the guest on one connection: bytes to frames, frames to the judge. No IO and no clock, so that all
//! of it can be tried with any bytes (see `fuzz`).

use std::sync::Arc;

use tokio::sync::mpsc;

use super::error::LinkError;
use super::judge;
use super::state::{Connected, Packet, Shared};
use crate::frame::{Frame, Kind};
use crate::limits::{MAX_BODY, MAX_STALE};
use crate::{Decoder, GuestHello, GuestMsg, VERSION};

/// Why a connection is not to be read further.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The guest is not to be talked to again.
    Fatal(LinkError),
    /// This is not the machine's agent, so it says nothing about the machine.
    Stranger,
}

/// The guest's half of a connection.
pub(super) struct Inbound {
    shared: Arc<Shared>,
    nonce: u64,
    /// Given to the session when it opens.
    packets: mpsc::Sender<Box<Packet>>,
    decoder: Decoder,
    stale: usize,
    greeted: bool,
}

impl Inbound {
    pub(super) fn new(shared: Arc<Shared>, nonce: u64, packets: mpsc::Sender<Box<Packet>>) -> Self {
        Self { shared, nonce, packets, decoder: Decoder::new(MAX_BODY), stale: 0, greeted: false }
    }

    /// The guest has answered the greeting.
    pub(super) fn greeted(&self) -> bool {
        self.greeted
    }

    /// Bytes held for a frame that has not ended.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn held(&self) -> usize {
        self.decoder.held()
    }

    /// Judges the next bytes and acts on them; says whether a whole frame ended in them. A refusal ends the connection.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<bool, Refusal> {
        let broken = |rule: String| Refusal::Fatal(LinkError::Protocol(rule));
        if !self.greeted {
            self.stale += bytes.len();
        }
        let mut whole = false;
        while let Some(decoded) = self.decoder.next(&mut bytes) {
            if self.greeted {
                let frame = decoded.map_err(|error| broken(error.to_string()))?;
                if frame.nonce != self.nonce {
                    return Err(broken("a frame of another session".to_owned()));
                }
                let judged = self.shared.update(|state| judge::frame(state, &frame, &self.shared.machine));
                judged.map_err(broken)?;
                whole = true;
            } else if let Some(message) = decoded.ok().filter(|frame| frame.nonce == self.nonce) {
                self.greet(&message)?;
                self.greeted = true;
                whole = true;
            }
        }
        if !self.greeted && self.stale > MAX_STALE {
            return Err(self.unproven(format!("{MAX_STALE} bytes without an answer to the greeting")));
        }
        Ok(whole)
    }

    /// Who broke this rule before a proof may be anybody in the guest, and must not end the machine of its agent.
    fn unproven(&self, rule: String) -> Refusal {
        let state = self.shared.lock();
        if state.proof.is_due(&state.job.run) {
            Refusal::Stranger
        } else {
            Refusal::Fatal(LinkError::Protocol(rule))
        }
    }

    /// Judges the answer to the greeting and opens the session.
    fn greet(&self, frame: &Frame) -> Result<(), Refusal> {
        let mut hello: GuestHello = match serde_json::from_slice(&frame.body) {
            Ok(GuestMsg::Hello(hello)) if frame.kind == Kind::Control => hello,
            _ => return Err(self.unproven("a first frame that is no greeting".to_owned())),
        };
        let opened = self.shared.update(|state| {
            let (proof, run) = (&state.proof, &state.job.run);
            let oldest = proof.oldest_version();
            let proven = proof.holds(run, &hello);
            if !proven && proof.is_due(run) {
                return Err(Refusal::Stranger);
            }
            if !(oldest..=VERSION).contains(&hello.version) {
                return Err(Refusal::Fatal(LinkError::Version { oldest, newest: VERSION }));
            }
            if !proven {
                return Err(Refusal::Stranger);
            }
            // It has done its service; what is kept of the hello is shown to people.
            hello.secret = None;
            judge::hello(state, hello).map_err(|rule| Refusal::Fatal(LinkError::Protocol(rule)))?;
            state.session += 1;
            state.next_stream = 1;
            state.grace = 0;
            state.connected = Some(Connected { session: state.session, packets: self.packets.clone() });
            state.lost = None;
            Ok(())
        });
        opened?;
        // An acknowledgement may have been lost with the last connection.
        self.shared.due.notify_one();
        Ok(())
    }
}
