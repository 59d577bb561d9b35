//! A machine that is kept to be looked into: it or its job failed, or an operator wishes it.

use std::time::Duration;

use fireactions_model::{Failure, MachineState, OnFailure};
use jiff::Timestamp;
use tokio::time::sleep;

use crate::asks::{Ask, Retire};
use crate::guest::link;
use crate::life::Life;

impl Life {
    /// Keeps the machine as an operator wishes, or as its pool says if something went wrong, if its VMM still runs, or if an earlier
    /// server kept it. Returns when it is to go: its hold time is over, somebody lets it go, or the VMM ends.
    pub(crate) async fn hold(&mut self, wrong: Option<Failure>) {
        // Who wishes something from here on is told that it is too late.
        *self.decided.lock().await = true;
        let Self { parts, pool, record, asks, made, .. } = self;
        let Some(vm) = &made.vm else { return };
        let until = match (record.view().state, record.view().held_until) {
            (MachineState::Held, Some(until)) => until,
            (MachineState::Held, None) => return,
            // Whoever killed it meanwhile does not want it kept.
            _ if asks.kill().is_some() => return,
            _ => {
                let (for_, max) = match (record.wished(), &wrong, &pool.on_failure) {
                    // The bound is for machines that nobody has asked for.
                    (Some(wished), ..) => (wished, None),
                    (None, Some(_), OnFailure::Hold { for_, max }) => (*for_, Some(*max)),
                    _ => return,
                };
                // A process that has ended leaves nothing to log in to.
                if tokio::time::timeout(Duration::ZERO, vm.exited()).await.is_ok() || !record.may_hold(max) {
                    return;
                }
                let until = Timestamp::now().checked_add(for_).unwrap_or(Timestamp::MAX);
                let message = wrong
                    .as_ref()
                    .map_or("an operator wished it", |failure| failure.message.as_str())
                    .to_owned();
                if record.held(until, wrong).await.is_err() {
                    tracing::error!(machine = %record.id(), "a machine could not be held: the state store refused");
                    return;
                }
                // A server that found the end of the job written down has not met the agent, and need not: it is only looked into.
                if made.link.is_none() && made.image.is_some() {
                    made.link = link(parts, pool, record, vm).ok();
                }
                // One that failed before it was ready was not to be talked to so far.
                if let (Some(link), Some(image)) = (&made.link, &made.image) {
                    record.linked(link.clone(), image.clone());
                }
                tracing::info!(machine = %record.id(), %until, "machine held for inspection: {message}");
                until
            }
        };
        // Whoever looks into it may change what is there.
        made.writer = None;
        let left = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
        let why = tokio::select! {
            () = sleep(left) => "its hold time is over".to_owned(),
            exit = vm.exited() => format!("its VMM process ended: {exit}"),
            ask = asks.next() => match ask {
                Ask::Kill { why } => why,
                Ask::Retire(Retire { why, answer }) => {
                    let _ = answer.send(true);
                    why
                }
            },
        };
        tracing::info!(machine = %record.id(), why, "held machine is removed");
    }
}
