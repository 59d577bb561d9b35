//! Freezing and waking a machine: QEMU's migration to and from a file, the memory left where it is.
//!
//! ```text
//! freeze:  stop ─▶ x-ignore-shared ─▶ add-fd, migrate file:/dev/fdset/N ─▶ completed
//! wake:    (-incoming defer) x-ignore-shared ─▶ add-fd, migrate-incoming file:/dev/fdset/N ─▶ completed ─▶ cont ─▶ running
//! ```
//!
//! QEMU before 8.2 does not know `file:` and gets it by getfd as `fd:state`, which 11 refuses to be a file.
//!
//! The file comes as a descriptor, over the control socket: QEMU's sandbox lets it start no program, and its user may open
//! nothing. The capability has had its `x-` since QEMU 3.1 and works on all versions since (7.2, 10 and 11 were tried).

use std::fs::File;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::qmp::{Qmp, QmpError};

/// Devices and CPUs are below a megabyte.
const DEADLINE: Duration = Duration::from_secs(30);

/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Stops the guest and writes its state. QEMU compares what a descriptor may do with what it wants of a file: this one only
/// writes.
pub(crate) async fn freeze(qmp: &Qmp, state: File) -> Result<(), QmpError> {
    qmp.execute("stop", Value::Null).await?;
    ignore_shared(qmp).await?;
    migrate(qmp, "migrate", state).await?;
    completed(qmp, "migrate").await
}

/// Reads a frozen guest's state and lets it go on.
pub(crate) async fn wake(qmp: &Qmp, state: File) -> Result<(), QmpError> {
    ignore_shared(qmp).await?;
    migrate(qmp, "migrate-incoming", state).await?;
    completed(qmp, "migrate-incoming").await?;
    qmp.execute("cont", Value::Null).await?;
    until(|| async {
        let status = qmp.execute("query-status", Value::Null).await?;
        Ok(status.get("status").and_then(Value::as_str) == Some("running"))
    })
    .await
}

/// Begins to write this file, or to read it.
async fn migrate(qmp: &Qmp, command: &'static str, file: File) -> Result<(), QmpError> {
    let uri = format!("file:{}", qmp.lend(file.try_clone()?.into()).await?);
    match qmp.execute(command, json!({ "uri": uri })).await {
        Err(QmpError::Refused { reason, .. }) if reason.contains("migration protocol") => {
            qmp.give("state", file.into()).await?;
            qmp.execute(command, json!({ "uri": "fd:state" })).await.map(drop)
        }
        other => other.map(drop),
    }
}

async fn ignore_shared(qmp: &Qmp) -> Result<(), QmpError> {
    let capability = json!({ "capability": "x-ignore-shared", "state": true });
    qmp.execute("migrate-set-capabilities", json!({ "capabilities": [capability] })).await?;
    Ok(())
}

async fn completed(qmp: &Qmp, command: &'static str) -> Result<(), QmpError> {
    until(|| async {
        let answer = qmp.execute("query-migrate", Value::Null).await?;
        match answer.get("status").and_then(Value::as_str) {
            Some("completed") => Ok(true),
            Some("failed" | "cancelled") => {
                let why = answer.get("error-desc").and_then(Value::as_str).unwrap_or("it gave no reason");
                Err(QmpError::Refused { command, reason: why.chars().take(500).collect() })
            }
            _ => Ok(false),
        }
    })
    .await
}

/// Looks again and again.
async fn until<F: Future<Output = Result<bool, QmpError>>>(
    mut look: impl FnMut() -> F,
) -> Result<(), QmpError> {
    let end = Instant::now() + DEADLINE;
    let mut pause = PAUSES.0;
    while !look().await? {
        if Instant::now() >= end {
            return Err(QmpError::Timeout(DEADLINE));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
    Ok(())
}
