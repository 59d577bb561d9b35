//! What others may ask of a machine's task.

use tokio::sync::{mpsc, oneshot};

use crate::end::End;

/// A request.
pub(crate) enum Ask {
    /// Go away if you have no work.
    Retire {
        /// For the log.
        why: String,
        /// False when it has work and stays.
        answer: oneshot::Sender<bool>,
    },
    /// Go away now; work that runs is told lost.
    Kill {
        /// For people.
        why: String,
    },
}

/// The machine's ear: requests that arrive while a stage runs. Boxed, for a queue has room for 32 from its first on.
pub(crate) struct Asks {
    receiver: mpsc::Receiver<Box<Ask>>,
}

impl Asks {
    pub(crate) fn new(receiver: mpsc::Receiver<Box<Ask>>) -> Self {
        Self { receiver }
    }

    /// The next request. Pends for ever once nobody can ask any more. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Ask {
        match self.receiver.recv().await {
            Some(ask) => *ask,
            None => std::future::pending().await,
        }
    }

    /// For stages without work: any request means to go.
    pub(crate) async fn gone(&mut self) -> End {
        match self.next().await {
            Ask::Retire { why, answer } => {
                let _ = answer.send(true);
                End::Retired(why)
            }
            Ask::Kill { why } => End::Retired(why),
        }
    }

    /// For stages with work: only a kill means to go.
    pub(crate) async fn killed(&mut self) -> String {
        loop {
            match self.next().await {
                Ask::Kill { why } => return why,
                Ask::Retire { answer, .. } => {
                    let _ = answer.send(false);
                }
            }
        }
    }

    /// The machine is gone: whoever asked, or asks from now on, hears that it goes.
    pub(crate) fn close(&mut self) {
        self.receiver.close();
        while let Ok(ask) = self.receiver.try_recv() {
            if let Ask::Retire { answer, .. } = *ask {
                let _ = answer.send(true);
            }
        }
    }
}
