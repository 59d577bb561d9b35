//! The history over a restart, and the doctor, whose work is dear.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::{Fake, raw, serve};
use fireactions_api::*;

fn get(path: &str) -> reqwest::Request {
    reqwest::Client::new().get(format!("http://localhost{path}")).build().unwrap()
}

#[tokio::test]
async fn the_history_outlives_the_server_that_kept_it() {
    let fake = Fake::new();
    let file = fake.dir.path().join("history.json");
    let first = Api::new(fake.clone(), Limits::default()).with_history(file.clone());
    // Its first point is made, and written, at once.
    let written = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
    first.close();
    let server = crate::common::serve_with(fake, |api| api.with_history(file.clone())).await;
    let (status, body) = raw(&server.socket, get("/api/v1/history")).await;
    let history: History = serde_json::from_str(&body).unwrap();
    assert_eq!((status, history.step_seconds, history.points.len()), (200, 60, 1));
    let point = &history.points[0];
    assert_eq!((point.machines, point.vcpus_used, point.memory_used_mib), (1, 2, 512));
    let (name, pool) = point.pools.first_key_value().unwrap();
    assert_eq!(name.as_str(), "default");
    assert_eq!(*pool, PoolPoint { queued: 2, busy: 1, idle: 0, starting: 0 });
    server.end().await;
    // Damaged, it is no reason not to start.
    std::fs::write(&file, "[{").unwrap();
    let server = crate::common::serve_with(Fake::new(), |api| api.with_history(file.clone())).await;
    assert_eq!(raw(&server.socket, get("/api/v1/history")).await.0, 200);
    server.end().await;
}

#[tokio::test]
async fn the_host_is_examined_once_for_all_who_ask() {
    let server = serve(Limits { request: Duration::from_millis(200), ..Limits::default() }).await;
    *server.fake.delay.lock().unwrap() = Duration::from_millis(600);
    let ask = async || raw(&server.socket, get("/api/v1/doctor")).await;
    let all = futures::future::join_all((0..5).map(|_| ask())).await;
    assert!(all.iter().all(|(status, _)| *status == 504), "{all:?}");
    // It goes on without them.
    let body = loop {
        match ask().await {
            (200, body) => break body,
            (status, _) => assert_eq!(status, 504),
        }
    };
    let found: Vec<DoctorFinding> = serde_json::from_str(&body).unwrap();
    assert_eq!((found[0].verdict, found[0].fix.as_deref()), (DoctorVerdict::Warning, Some("buy some")));
    assert_eq!(server.fake.examined.load(Ordering::Relaxed), 1);
}
