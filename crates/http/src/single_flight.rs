//! One asks for what many want; the others wait for what becomes of it, good or bad. Otherwise each of those who wait
//! behind a question that fails would ask it again, and the last would wait as long as all of them together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The question that is on its way, if one is.
pub struct SingleFlight<T, E> {
    running: Mutex<Option<watch::Receiver<Outcome<T, E>>>>,
}

type Outcome<T, E> = Option<Result<T, E>>;

impl<T, E> Default for SingleFlight<T, E> {
    fn default() -> Self {
        Self { running: Mutex::new(None) }
    }
}

impl<T: Clone, E: Clone> SingleFlight<T, E> {
    fn running(&self) -> MutexGuard<'_, Option<watch::Receiver<Outcome<T, E>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody asks now.
    pub fn is_running(&self) -> bool {
        self.running().as_ref().is_some_and(is_alive)
    }

    /// What becomes of the question: of the one that is on its way, or of `ask`. Whoever asks does it in its own time;
    /// when it is cancelled, one of those who wait asks instead. Nobody waits beyond `until`, for which `late` is the
    /// error.
    ///
    /// # Errors
    ///
    /// What `ask` or `late` gives.
    pub async fn run<F>(&self, until: Instant, ask: impl Fn() -> F, late: impl FnOnce() -> E) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        loop {
            let (mine, mut others) = {
                let mut running = self.running();
                if let Some(receiver) = running.as_ref().filter(|receiver| is_alive(receiver)) {
                    (None, receiver.clone())
                } else {
                    let (sender, receiver) = watch::channel(None);
                    *running = Some(receiver.clone());
                    (Some(sender), receiver)
                }
            };
            if let Some(sender) = mine {
                let outcome = ask().await;
                *self.running() = None;
                sender.send_replace(Some(outcome.clone()));
                return outcome;
            }
            match timeout_at(until, others.wait_for(Option::is_some)).await {
                Ok(Ok(outcome)) => {
                    if let Some(outcome) = outcome.clone() {
                        return outcome;
                    }
                }
                // Whoever asked was cancelled.
                Ok(Err(_)) => {}
                Err(_) => return Err(late()),
            }
        }
    }
}

/// Whether whoever asks is still there.
fn is_alive<T>(receiver: &watch::Receiver<T>) -> bool {
    receiver.has_changed().is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::Error;

    const SLOW: Duration = Duration::from_secs(60);

    fn late() -> Error {
        Error::Timeout { doing: "wait".into(), after: Duration::ZERO }
    }

    fn refused() -> Error {
        Error::Credential("no".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_everybodys_and_costs_its_time_once() {
        let (flight, asked) = (SingleFlight::<u32, Error>::default(), AtomicU32::new(0));
        let began = Instant::now();
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            sleep(SLOW).await;
            Err(refused())
        };
        let all = (0..10).map(|_| flight.run(began + SLOW * 2, ask, late));
        for outcome in futures::future::join_all(all).await {
            assert_eq!(outcome, Err(refused()));
        }
        assert_eq!((began.elapsed(), asked.load(Ordering::Relaxed)), (SLOW, 1));
        assert!(!flight.is_running());
        assert_eq!(flight.run(began, || async { Ok(7) }, late).await, Ok(7), "and the next asks anew");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_when_its_own_time_is_over() {
        let flight = Arc::new(SingleFlight::<u32, Error>::default());
        let (first, began) = (flight.clone(), Instant::now());
        let slow = || async {
            sleep(SLOW).await;
            Ok(1)
        };
        let first = tokio::spawn(async move { first.run(began + SLOW * 2, slow, late).await });
        tokio::task::yield_now().await;
        assert!(flight.is_running());
        let soon = began + Duration::from_secs(5);
        assert_eq!(flight.run(soon, || async { Ok(2) }, late).await, Err(late()));
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        assert_eq!(first.await.unwrap(), Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_asks_when_the_first_is_cancelled() {
        let flight = Arc::new(SingleFlight::<u32, Error>::default());
        let (first, until) = (flight.clone(), Instant::now() + SLOW * 2);
        let first = tokio::spawn(async move { first.run(until, std::future::pending, late).await });
        tokio::task::yield_now().await;
        let ask = || async { Ok(2) };
        let second = flight.run(until, ask, late);
        let cancel = async {
            tokio::task::yield_now().await;
            first.abort();
        };
        let (outcome, ()) = timeout(SLOW, async { tokio::join!(second, cancel) }).await.unwrap();
        assert_eq!(outcome, Ok(2));
    }
}
