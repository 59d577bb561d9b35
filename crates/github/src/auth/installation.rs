//! An App's installation and the token that acts for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fireactions_http::SingleFlight;
use fireactions_model::Secret;
use tokio::time::Instant;

use crate::Error;

/// A token that ends this soon is replaced.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// One that ends this soon is not used any more.
const LATE: Duration = Duration::from_secs(30);

/// An App where it is installed. Scopes that it covers share it.
pub(super) struct Installation {
    /// Index of the App in the settings.
    pub(super) app: usize,
    pub(super) id: u64,
    /// Whose rate limits count.
    pub(super) label: String,
    token: Mutex<Option<Token>>,
    /// Getting a new token.
    pub(super) refresh: SingleFlight<Secret, Error>,
}

struct Token {
    header: Secret,
    until: Instant,
}

/// How good the token is.
pub(super) enum Held {
    /// For a while.
    Good(Secret),
    /// It ends soon.
    Ending(Secret),
    /// There is none that can be used.
    None,
}

impl Installation {
    pub(super) fn new(app: usize, app_id: &str, id: u64) -> Self {
        let label = format!("app {app_id} installation {id}");
        Self { app, id, label, token: Mutex::default(), refresh: SingleFlight::default() }
    }

    pub(super) fn held(&self) -> Held {
        let now = Instant::now();
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        match token.as_ref() {
            Some(token) if token.until > now + EARLY => Held::Good(token.header.clone()),
            Some(token) if token.until > now + LATE => Held::Ending(token.header.clone()),
            _ => Held::None,
        }
    }

    /// Keeps a token that ends after `life`.
    pub(super) fn keep(&self, header: Secret, life: Duration) {
        let until = Instant::now() + life;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(Token { header, until });
    }

    /// GitHub did not accept this one. Another that somebody got in the meantime stays.
    pub(super) fn forget(&self, header: &Secret) {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if token.as_ref().is_some_and(|token| token.header.expose() == header.expose()) {
            *token = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tokens_are_replaced_before_they_end() {
        let installation = Installation::new(0, "7", 8);
        assert_eq!(installation.label, "app 7 installation 8");
        assert!(matches!(installation.held(), Held::None));
        installation.keep(Secret::new("one"), Duration::from_secs(3600));
        assert!(matches!(installation.held(), Held::Good(_)));
        tokio::time::advance(Duration::from_secs(3300)).await;
        assert!(matches!(installation.held(), Held::Ending(_)));
        tokio::time::advance(Duration::from_secs(270)).await;
        assert!(matches!(installation.held(), Held::None));
        installation.keep(Secret::new("two"), Duration::from_secs(3600));
        installation.forget(&Secret::new("one"));
        assert!(matches!(installation.held(), Held::Good(_)));
        installation.forget(&Secret::new("two"));
        assert!(matches!(installation.held(), Held::None));
    }
}
