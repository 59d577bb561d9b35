//! A failed machine that is kept to be looked into.

use std::time::Duration;

use fireactions_model::{Failure, MachineState, OnFailure};
use jiff::Timestamp;
use tokio::time::sleep;

use crate::asks::{Ask, Retire};
use crate::life::Life;

impl Life {
    /// Keeps the machine as its pool says, if something went wrong and its VMM still runs, or if an earlier server kept
    /// it. Returns when it is to go: its hold time is over, somebody lets it go, or the VMM ends.
    pub(crate) async fn hold(&mut self, wrong: Option<Failure>) {
        let Self { pool, record, asks, made, .. } = self;
        let Some(vm) = &made.vm else { return };
        let until = match (record.view().state, record.view().held_until, wrong) {
            (MachineState::Held, Some(until), _) => until,
            (MachineState::Held, None, _) | (_, _, None) => return,
            // Whoever killed it meanwhile does not want it kept.
            (_, _, Some(_)) if asks.kill().is_some() => return,
            (_, _, Some(failure)) => {
                let OnFailure::Hold { for_, max } = pool.on_failure else { return };
                // A process that has ended leaves nothing to log in to.
                if tokio::time::timeout(Duration::ZERO, vm.exited()).await.is_ok() || !record.may_hold(max) {
                    return;
                }
                let until = Timestamp::now().checked_add(for_).unwrap_or(Timestamp::MAX);
                let message = failure.message.clone();
                if record.held(until, failure).await.is_err() {
                    tracing::error!(machine = %record.id(), "a machine could not be held: the state store refused");
                    return;
                }
                // One that failed before it was ready was not to be talked to so far.
                if let (Some(link), Some(image)) = (&made.link, &made.image) {
                    record.linked(link.clone(), image.clone());
                }
                tracing::info!(machine = %record.id(), %until, "machine held for inspection: {message}");
                until
            }
        };
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
