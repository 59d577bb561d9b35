//! What comes from the guest on one connection: bytes to frames, frames to the judge. No IO and no clock, so that all
//! of it can be tried with any bytes (see `fuzz`).

use tokio::sync::mpsc;

use super::error::LinkError;
use super::judge;
use super::state::{Connected, Packet, Shared};
use crate::frame::{Frame, Kind};
use crate::limits::{MAX_BODY, MAX_STALE};
use crate::{Decoder, GuestMsg, OLDEST_VERSION, VERSION};

/// The guest's half of a connection.
pub(super) struct Inbound<'a> {
    shared: &'a Shared,
    nonce: u64,
    /// Given to the session when it opens.
    packets: mpsc::Sender<Packet>,
    decoder: Decoder,
    stale: usize,
    greeted: bool,
}

impl<'a> Inbound<'a> {
    pub(super) fn new(shared: &'a Shared, nonce: u64, packets: mpsc::Sender<Packet>) -> Self {
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

    /// Judges the next bytes and acts on them; says whether a whole frame ended in them. An error ends the link.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<bool, LinkError> {
        if !self.greeted {
            self.stale += bytes.len();
        }
        let mut whole = false;
        while let Some(decoded) = self.decoder.next(&mut bytes) {
            if self.greeted {
                let frame = decoded.map_err(|error| LinkError::Protocol(error.to_string()))?;
                if frame.nonce != self.nonce {
                    return Err(LinkError::Protocol("a frame of another session".to_owned()));
                }
                let judged = self.shared.update(|state| judge::frame(state, &frame, &self.shared.machine));
                judged.map_err(LinkError::Protocol)?;
                whole = true;
            } else if let Some(message) = decoded.ok().filter(|frame| frame.nonce == self.nonce) {
                self.greet(&message)?;
                self.greeted = true;
                whole = true;
            }
        }
        if !self.greeted && self.stale > MAX_STALE {
            return Err(LinkError::Protocol(format!("{MAX_STALE} bytes without an answer to the greeting")));
        }
        Ok(whole)
    }

    /// Judges the answer to the greeting and opens the session.
    fn greet(&self, frame: &Frame) -> Result<(), LinkError> {
        let hello = match serde_json::from_slice(&frame.body) {
            Ok(GuestMsg::Hello(hello)) if frame.kind == Kind::Control => hello,
            _ => return Err(LinkError::Protocol("a first frame that is no greeting".to_owned())),
        };
        if !(OLDEST_VERSION..=VERSION).contains(&hello.version) {
            return Err(LinkError::Version { oldest: OLDEST_VERSION, newest: VERSION });
        }
        let opened = self.shared.update(|state| {
            judge::hello(state, hello)?;
            state.session += 1;
            state.next_stream = 1;
            state.grace = 0;
            state.connected = Some(Connected { session: state.session, packets: self.packets.clone() });
            state.lost = None;
            Ok(())
        });
        opened.map_err(LinkError::Protocol)?;
        // An acknowledgement may have been lost with the last connection.
        self.shared.due.notify_one();
        Ok(())
    }
}
