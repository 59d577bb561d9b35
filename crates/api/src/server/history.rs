//! `/api/v1/history`: how the host stood in the last hours, for sparklines. Whoever wants more has Prometheus.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use fireactions_model::{MachineState, MachineView, PoolView};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Context, kept};
use crate::engine::Result;
use crate::{Engine, HistoryPoint, PoolPoint};

const STEP: Duration = Duration::from_secs(60);
/// Six hours.
const POINTS: usize = 360;

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The last six hours: each pool's queue and machines, and what machines use, once a minute.
#[utoipa::path(get, path = "/api/v1/history", tag = "server", responses((status = 200, body = crate::History)))]
async fn show(State(context): State<Context>) -> axum::Json<crate::History> {
    axum::Json(context.history.view(Timestamp::now()))
}

/// A ring of points.
#[derive(Clone, Default)]
pub(super) struct History {
    points: Arc<Mutex<VecDeque<HistoryPoint>>>,
}

impl History {
    /// Goes on with what an earlier server left in `file`, a point a minute, until `closing`. Needs a runtime.
    pub(super) fn start(engine: Arc<dyn Engine>, file: PathBuf, closing: CancellationToken) -> Self {
        let before = kept::read::<VecDeque<HistoryPoint>>(&file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "the history of before could not be read; it begins anew");
            None
        });
        let history = Self { points: Arc::new(Mutex::new(before.unwrap_or_default())) };
        let own = history.clone();
        tokio::spawn(async move {
            loop {
                let wait = own.until_next(Timestamp::now());
                if closing.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return;
                }
                let point = tokio::time::timeout(STEP, look(engine.as_ref())).await;
                let Ok(Ok(point)) = point else { continue };
                own.add(point);
                own.save(&file).await;
            }
        });
        history
    }

    fn points(&self) -> MutexGuard<'_, VecDeque<HistoryPoint>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server that has just taken over goes on in the step of the one before.
    fn until_next(&self, now: Timestamp) -> Duration {
        let Some(last) = self.points().back().map(|point| point.at) else { return Duration::ZERO };
        let since = now.duration_since(last);
        // A clock that was set back is no reason to wait for it.
        if since.is_negative() {
            return STEP;
        }
        STEP.saturating_sub(since.unsigned_abs())
    }

    fn add(&self, point: HistoryPoint) {
        let oldest = point.at - SignedDuration::from_secs(6 * 3600);
        let mut points = self.points();
        points.retain(|before| before.at < point.at && before.at > oldest);
        points.push_back(point);
        while points.len() > POINTS {
            points.pop_front();
        }
    }

    async fn save(&self, file: &std::path::Path) {
        let (points, file) = (self.points().clone(), file.to_owned());
        let shown = file.display().to_string();
        let written = tokio::task::spawn_blocking(move || kept::write(&file, &points)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(file = shown, %error, "the history could not be written down; a restart forgets it");
        }
    }

    fn view(&self, now: Timestamp) -> crate::History {
        let from = now - SignedDuration::from_secs(6 * 3600);
        let points = self.points().iter().filter(|point| point.at >= from).cloned().collect();
        crate::History { step_seconds: 60, from, points }
    }
}

async fn look(engine: &dyn Engine) -> Result<HistoryPoint> {
    let (pools, machines) = (engine.pools().await?, engine.machines().await?);
    Ok(point(Timestamp::now(), &pools, &machines))
}

fn point(at: Timestamp, pools: &[PoolView], machines: &[MachineView]) -> HistoryPoint {
    let of = |pool: &PoolView| {
        let count = |wanted: fn(MachineState) -> bool| {
            pool.machines.iter().filter(|(state, _)| wanted(**state)).map(|(_, count)| count).sum()
        };
        let point = PoolPoint {
            queued: pool.queued,
            busy: count(MachineState::is_busy),
            idle: count(|state| state == MachineState::Ready),
            starting: count(|state| matches!(state, MachineState::Creating | MachineState::Booting)),
        };
        (pool.spec.name.clone(), point)
    };
    HistoryPoint {
        at,
        pools: pools.iter().map(of).collect(),
        vcpus_used: machines.iter().map(|one| u64::from(one.shape.vcpus)).sum(),
        memory_used_mib: machines.iter().map(|one| u64::from(one.shape.memory_mib)).sum(),
        machines: u32::try_from(machines.len()).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> HistoryPoint {
        point(Timestamp::from_second(minute * 60).unwrap(), &[], &[])
    }

    #[test]
    fn six_hours_are_kept_whatever_the_clock_does() {
        let history = History::default();
        (0..1000).for_each(|minute| history.add(at(minute)));
        let times: Vec<i64> = history.points().iter().map(|point| point.at.as_second() / 60).collect();
        assert_eq!(times, (640..1000).collect::<Vec<_>>());
        history.add(at(990));
        assert_eq!(
            history.points().back().unwrap().at.as_second() / 60,
            990,
            "set back: what was after is gone"
        );
        assert_eq!(history.points().len(), 351);
        history.add(at(9990));
        assert_eq!(history.points().len(), 1);
        let view = history.view(Timestamp::from_second(9991 * 60).unwrap());
        assert_eq!((view.points.len(), view.step_seconds), (1, 60));
    }

    #[test]
    fn the_next_server_goes_on_in_step() {
        let history = History::default();
        assert_eq!(history.until_next(Timestamp::UNIX_EPOCH), Duration::ZERO);
        history.add(at(10));
        let after = |seconds: i64| history.until_next(Timestamp::from_second(600 + seconds).unwrap());
        assert_eq!(after(20), Duration::from_secs(40));
        assert_eq!(after(4000), Duration::ZERO);
        assert_eq!(after(-4000), STEP);
    }
}
