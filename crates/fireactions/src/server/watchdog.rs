//! Tells the service manager that the server lives, as long as it does: a process that runs and serves nobody is
//! worse than one that is started again, which costs no job.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fireactions_api::{Client, Target};
use fireactions_machine::Machinery;
use fireactions_model::Machines;
use fireactions_pool::Timing;
use fireactions_store::Store;
use tokio::time::timeout;

use super::looked::LastLook;
use super::notify::Notifier;

/// Until the store or the API must have answered.
const ANSWER: Duration = Duration::from_secs(10);
/// How many times the longest look is waited for: a busy host may be late.
const LOOKS: u32 = 2;

/// What is looked at.
pub(super) struct Vitals {
    pub(super) store: Store,
    pub(super) last_look: LastLook,
    pub(super) machines: Machinery,
    /// The API's own socket, asked as any client would.
    pub(super) api: Target,
}

/// The task that looks and tells. While nothing is given to look at (at the start and over a handover, whose every
/// wait has a deadline) it only tells.
#[derive(Clone)]
pub(super) struct Watchdog {
    vitals: Arc<Mutex<Option<Arc<Vitals>>>>,
}

impl Watchdog {
    /// Does nothing where no manager waits for it.
    pub(super) fn start(notifier: &Notifier) -> Self {
        let watchdog = Self { vitals: Arc::default() };
        if let Some(period) = notifier.watchdog() {
            tokio::spawn(watchdog.clone().run(notifier.clone(), period / 3));
        }
        watchdog
    }

    /// Looks at these from now on.
    pub(super) fn watch(&self, vitals: Option<Vitals>) {
        *self.vitals.lock().unwrap_or_else(PoisonError::into_inner) = vitals.map(Arc::new);
    }

    async fn run(self, notifier: Notifier, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let vitals = self.vitals.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(vitals) = vitals else {
                notifier.alive();
                continue;
            };
            match vitals.check().await {
                Ok(()) => {
                    notifier.alive();
                    notifier.status(&vitals.summary());
                }
                Err(what) => {
                    tracing::error!("the watchdog is not notified that the server is alive: {what}");
                    notifier.status(&format!("hangs: {what}"));
                }
            }
        }
    }
}

impl Vitals {
    /// The error is what hangs.
    async fn check(&self) -> Result<(), String> {
        match timeout(ANSWER, self.store.alive()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("the state store fails: {error}")),
            Err(_) => return Err(format!("the state store did not answer within {ANSWER:?}")),
        }
        let still = self.last_look.ago();
        if still > LOOKS * Timing::default().longest_look() {
            return Err(format!("the pools were not evaluated for {still:.0?}"));
        }
        let client = Client::new(self.api.clone(), None).map_err(|error| error.to_string())?;
        match timeout(ANSWER, client.version()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the API fails: {error}")),
            Err(_) => Err(format!("the API did not answer within {ANSWER:?}")),
        }
    }

    fn summary(&self) -> String {
        let machines = self.machines.views();
        let busy = machines.iter().filter(|machine| machine.job.is_some()).count();
        format!("{} machines, {busy} with a job", machines.len())
    }
}
