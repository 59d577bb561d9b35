//! `/api/v1/doctor` and `/api/v1/config`: whether the host is fit, and what the server was told.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use crate::engine::Result;
use crate::{Code, ConfigView, DoctorFinding, Engine, Fault};

/// How long an examination is as good as a new one: it starts programs, and takes seconds.
const FRESH: Duration = Duration::from_secs(30);
/// Longer than the examination of a host whose KVM hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(doctor)).routes(routes!(config))
}

/// The last examination.
#[derive(Clone, Default)]
pub(super) struct Doctor {
    last: Arc<Mutex<Option<Examined>>>,
}

struct Examined {
    when: Instant,
    found: Vec<DoctorFinding>,
}

impl Doctor {
    /// What it finds. One examination at a time; it goes on when nobody waits for it any more, and the next who asks has its result.
    async fn findings(&self, engine: &Arc<dyn Engine>) -> Result<Vec<DoctorFinding>> {
        let (last, engine) = (Arc::clone(&self.last), Arc::clone(engine));
        let examination = tokio::spawn(async move {
            let mut last = last.lock().await;
            if let Some(last) = last.as_ref().filter(|last| last.when.elapsed() < FRESH) {
                return Ok(last.found.clone());
            }
            let found = timeout(PATIENCE, engine.doctor()).await.map_err(|_| {
                Fault::new(
                    Code::Timeout,
                    format!("the host was not examined within {} s", PATIENCE.as_secs()),
                )
                .hint("run `fireactions doctor` on the host")
            })??;
            *last = Some(Examined { when: Instant::now(), found: found.clone() });
            Ok(found)
        });
        examination
            .await
            .unwrap_or_else(|_| Err(Fault::internal("the examination of the host was cut short")))
    }
}

/// What `fireactions doctor` finds on the server's host, with what to do about it; at most 30 seconds old.
#[utoipa::path(get, path = "/api/v1/doctor", tag = "server",
    responses((status = 200, body = Vec<DoctorFinding>)))]
async fn doctor(State(context): State<Context>) -> Result<axum::Json<Vec<DoctorFinding>>> {
    context.doctor.findings(&context.engine).await.map(axum::Json)
}

/// The configuration that the server runs with, key by key, without secrets.
#[utoipa::path(get, path = "/api/v1/config", tag = "server", responses((status = 200, body = ConfigView)))]
async fn config(State(context): State<Context>) -> axum::Json<ConfigView> {
    axum::Json(context.engine.config())
}
