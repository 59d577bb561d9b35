//! The webhook's secrets: read beside the deliveries, kept for a while, and read again when none of them fits.

use std::sync::Arc;
use std::time::Duration;

use fireactions_model::Secret;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::settings::WebhookSecrets;
use fireactions_http::webhook::Forged;

/// After this they are read again in any case: one that was taken away is not good for longer.
const FRESH: Duration = Duration::from_secs(30);
/// A signature that does not fit has them read again, but not more often than this: anybody can send one.
const AGAIN: Duration = Duration::from_secs(1);
/// Reading them takes no longer.
const READ: Duration = Duration::from_secs(5);

/// Why a signature could not be checked, or is not good.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody who knows a secret sent it.
    Forged(Forged),
    /// No secret can be read; for the log alone.
    Unready(String),
}

/// The secrets as they were read last.
pub(crate) struct Kept {
    source: WebhookSecrets,
    /// Held while they are read, so that many deliveries read them once.
    last: Mutex<Option<Reading>>,
}

#[derive(Clone)]
struct Reading {
    at: Instant,
    secrets: Result<Arc<[Secret]>, String>,
}

impl Kept {
    pub(crate) fn new(source: WebhookSecrets) -> Self {
        Self { source, last: Mutex::default() }
    }

    /// Checks a delivery's signature: `verify` says whether it is made with any of the secrets.
    pub(crate) async fn verify(
        &self,
        verify: impl Fn(&[Secret]) -> Result<(), Forged>,
    ) -> Result<(), Refused> {
        let check = |secrets: &[Secret]| verify(secrets).map_err(Refused::Forged);
        let first = check(&self.secrets(FRESH).await.map_err(Refused::Unready)?);
        match first {
            // They may have been changed since.
            Err(Refused::Forged(Forged::Wrong)) => {
                check(&self.secrets(AGAIN).await.map_err(Refused::Unready)?)
            }
            other => other,
        }
    }

    /// The secrets, read not longer ago than this.
    async fn secrets(&self, age: Duration) -> Result<Arc<[Secret]>, String> {
        let mut last = self.last.lock().await;
        if let Some(reading) = last.as_ref() {
            // A failure is not repeated for each delivery, either.
            let age = if reading.secrets.is_ok() { age } else { AGAIN };
            if reading.at.elapsed() < age {
                return reading.secrets.clone();
            }
        }
        let secrets = self.read().await;
        *last = Some(Reading { at: Instant::now(), secrets: secrets.clone() });
        secrets
    }

    /// Those that can be read: while one replaces another, either may be missing for a moment.
    async fn read(&self) -> Result<Arc<[Secret]>, String> {
        let source = self.source.clone();
        let all = match timeout(READ, tokio::task::spawn_blocking(move || source())).await {
            Ok(Ok(all)) => all,
            Ok(Err(_)) => return Err("they could not be read".to_owned()),
            Err(_) => return Err(format!("they could not be read within {READ:?}")),
        };
        let (mut secrets, mut missing) = (Vec::new(), Vec::new());
        for one in all {
            match one {
                Ok(secret) => secrets.push(secret),
                Err(why) => missing.push(why),
            }
        }
        if secrets.is_empty() {
            let none = || "none is configured".to_owned();
            return Err(missing.into_iter().reduce(|all, why| format!("{all}; {why}")).unwrap_or_else(none));
        }
        for why in missing {
            tracing::warn!("one of the webhook's secrets cannot be read and is not used: {why}");
        }
        Ok(secrets.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Lock;
    use std::thread::ThreadId;

    use super::*;

    /// What the files hold, and which threads read them.
    #[derive(Default)]
    struct Files {
        secrets: Lock<Vec<Result<&'static str, &'static str>>>,
        readers: Lock<Vec<ThreadId>>,
    }

    impl Files {
        fn kept(self: &Arc<Self>) -> Kept {
            let files = self.clone();
            Kept::new(Arc::new(move || {
                files.readers.lock().unwrap().push(std::thread::current().id());
                let secrets = files.secrets.lock().unwrap();
                secrets.iter().map(|one| one.map(Secret::new).map_err(str::to_owned)).collect()
            }))
        }

        fn set(&self, secrets: &[Result<&'static str, &'static str>]) {
            *self.secrets.lock().unwrap() = secrets.to_vec();
        }

        fn reads(&self) -> usize {
            self.readers.lock().unwrap().len()
        }
    }

    /// What a forge does with a delivery that this secret has signed.
    fn signed_with(secret: &str) -> impl Fn(&[Secret]) -> Result<(), Forged> {
        move |secrets| {
            let good = secrets.iter().any(|known| known.expose() == secret);
            if good { Ok(()) } else { Err(Forged::Wrong) }
        }
    }

    async fn is_good(kept: &Kept, secret: &str) -> bool {
        kept.verify(signed_with(secret)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_sign_makes_nobody_read_a_file() {
        let files = Arc::new(Files::default());
        files.set(&[Ok("s3cret")]);
        let kept = files.kept();
        for _ in 0..1000 {
            assert_eq!(kept.verify(|_| Err(Forged::Unsigned)).await, Err(Refused::Forged(Forged::Unsigned)));
            assert!(!is_good(&kept, "other").await);
        }
        assert_eq!(files.reads(), 1);
        let own = std::thread::current().id();
        assert!(
            files.readers.lock().unwrap().iter().all(|reader| *reader != own),
            "deliveries wait for no disk"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_was_changed_is_taken_at_once_and_the_old_one_not_for_long() {
        let files = Arc::new(Files::default());
        files.set(&[Ok("old")]);
        let kept = files.kept();
        assert!(is_good(&kept, "old").await);
        files.set(&[Ok("new")]);
        tokio::time::advance(AGAIN).await;
        assert!(is_good(&kept, "new").await && !is_good(&kept, "old").await);
        files.set(&[Ok("newer")]);
        tokio::time::advance(FRESH).await;
        assert!(!is_good(&kept, "new").await && is_good(&kept, "newer").await);
    }

    #[tokio::test(start_paused = true)]
    async fn one_missing_file_of_a_rotation_stops_nothing() {
        let files = Arc::new(Files::default());
        files.set(&[Err("new.secret: no such file"), Ok("old")]);
        let kept = files.kept();
        assert!(is_good(&kept, "old").await && !is_good(&kept, "new").await);
        files.set(&[Err("a: no such file"), Err("b: no such file")]);
        tokio::time::advance(FRESH).await;
        let refused = kept.verify(signed_with("old")).await;
        assert_eq!(refused, Err(Refused::Unready("a: no such file; b: no such file".to_owned())));
        files.set(&[Ok("new"), Err("b: no such file")]);
        tokio::time::advance(AGAIN).await;
        assert!(is_good(&kept, "new").await);
    }
}
