//! No secret is in what is logged, at the finest level. In a process of its own, for what is logged is a process's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "it/common.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod common;

use std::sync::{Arc, Mutex};

use common::{Octo, scope};
use fireactions_testkit::github::Fault;

#[tokio::test]
async fn nothing_that_is_logged_has_a_secret_in_it() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let octo = Octo::new();
    octo.fake.set_clock_offset(jiff::SignedDuration::from_mins(-5));
    octo.fake.fault(Fault::on("GET", "/orgs/octo/actions/runners").status(502, "no"));
    octo.github.runners(&scope("octo")).await.unwrap();
    let token = octo.github.registration_token(&scope("octo")).await.unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("this host's clock is") && log.contains("a request to GitHub failed; trying again"),
        "{log}"
    );
    assert!(!log.contains(token.token.expose()) && !log.contains("ghs_") && !log.contains("eyJ"), "{log}");
}
