//! What others may ask of a machine's task.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::end::End;

/// Requests to retire that wait at one machine. Each has somebody who waits for the answer.
const QUEUE: usize = 8;

/// A request.
pub(crate) enum Ask {
    /// Go away if you have no work.
    Retire(Retire),
    /// End now; running work is reported as lost.
    Kill {
        /// For people.
        why: String,
    },
}

/// A request to go away that a machine with work refuses.
pub(crate) struct Retire {
    /// For the log.
    pub(crate) why: String,
    /// False when it has work and stays.
    pub(crate) answer: oneshot::Sender<bool>,
}

/// Whether the machine's task has looked at whether it is to be held: nothing is wished of it any more. Locked while a wish is written,
/// and while the task looks.
pub(crate) type Decided = Arc<Mutex<bool>>;

/// The mouth of those who ask one machine.
pub(crate) struct Asker {
    retires: mpsc::Sender<Box<Retire>>,
    kill: watch::Sender<Option<String>>,
}

impl Asker {
    /// Asks the machine to go, and returns where its answer will be. `None` if so many have asked already, or it is gone.
    pub(crate) fn retire(&self, why: &str) -> Option<oneshot::Receiver<bool>> {
        let (answer, answered) = oneshot::channel();
        self.retires.try_send(Box::new(Retire { why: why.to_owned(), answer })).ok()?;
        Some(answered)
    }

    /// Ends the machine.
    pub(crate) fn kill(&self, why: &str) {
        self.kill.send_if_modified(|kill| kill.is_none() && kill.replace(why.to_owned()).is_none());
    }

    /// It is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.retires.is_closed()
    }
}

/// The machine's ear: requests that arrive while a stage runs. Boxed, for a queue has room for 32 from its first on.
pub(crate) struct Asks {
    retires: mpsc::Receiver<Box<Retire>>,
    kill: watch::Receiver<Option<String>>,
}

/// The two ends of one machine's requests.
pub(crate) fn asks() -> (Asker, Asks) {
    let (retires, receiver) = mpsc::channel(QUEUE);
    let (kill, killed) = watch::channel(None);
    (Asker { retires, kill }, Asks { retires: receiver, kill: killed })
}

impl Asks {
    /// The next request. Pends for ever once nobody can ask any more. Cancel-safe. A kill stands once it was asked for: it is
    /// the next request of every stage after.
    pub(crate) async fn next(&mut self) -> Ask {
        tokio::select! {
            biased;
            why = kill(&mut self.kill) => Ask::Kill { why },
            retire = retire(&mut self.retires) => Ask::Retire(retire),
        }
    }

    /// The next request to retire, for what not even a kill ends. As [`Asks::next`].
    pub(crate) async fn retire(&mut self) -> Retire {
        retire(&mut self.retires).await
    }

    /// Why the machine is to end now, where that was asked for.
    pub(crate) fn kill(&self) -> Option<String> {
        self.kill.borrow().clone()
    }

    /// For stages without work: any request means to go.
    pub(crate) async fn retired(&mut self) -> End {
        match self.next().await {
            Ask::Retire(Retire { why, answer }) => {
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
                Ask::Retire(Retire { answer, .. }) => {
                    let _ = answer.send(false);
                }
            }
        }
    }

    /// The machine is gone: whoever asked, or asks from now on, hears that it goes.
    pub(crate) fn close(&mut self) {
        self.retires.close();
        while let Ok(retire) = self.retires.try_recv() {
            let _ = retire.answer.send(true);
        }
    }
}

async fn retire(retires: &mut mpsc::Receiver<Box<Retire>>) -> Retire {
    while let Some(retire) = retires.recv().await {
        // Whoever has given it up has told others that the machine stays.
        if !retire.answer.is_closed() {
            return *retire;
        }
    }
    std::future::pending().await
}

async fn kill(kill: &mut watch::Receiver<Option<String>>) -> String {
    let why = kill.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
    match why {
        Some(why) => why,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_request_that_was_given_up_is_not_obeyed() {
        let (asker, mut asks) = asks();
        drop(asker.retire("first"));
        assert!(asks.next().now_or_never().is_none());
        drop(asker.retire("second"));
        let answered = asker.retire("third");
        assert!(matches!(asks.next().await, Ask::Retire(Retire { why, .. }) if why == "third"));
        drop(answered);
    }

    #[tokio::test]
    async fn a_kill_stands_however_many_ask_for_something_else() {
        let (asker, mut asks) = asks();
        let _waiting: Vec<_> = (0..QUEUE).map(|_| asker.retire("a test")).collect();
        assert!(asker.retire("one too many").is_none());
        asker.kill("first");
        asker.kill("second");
        for _ in 0..2 {
            assert_eq!(asks.killed().await, "first");
        }
        assert_eq!(asks.kill().as_deref(), Some("first"));
        assert_eq!(asks.retire().await.why, "a test", "what not even that ends hears the others");
    }
}
