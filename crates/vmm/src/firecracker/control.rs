//! What a running Firecracker is asked, and what is known of it when it has ended.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::MachineId;
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::api::{ApiError, BalloonUpdate, Client, GetBalloonStatistics, GetInstance, InstanceState};
use super::jail::Jail;
use super::telemetry::{self, Telemetry};
use super::{machine, snapshot};
use crate::cgroup::{Cgroups, Used};
use crate::console::{printable, tail};
use crate::log::Log;
use crate::process::Process;
use crate::vm::{Control, Diagnosis};
use crate::{ExitCause, ExitReason, VmmError};

/// Bytes of console and log that an [`ExitReason`] carries.
const TAIL: u64 = 4096;

/// Connecting to a Firecracker that has been running for long.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// How long Firecracker may take to end by itself: it writes its metrics and does nothing for the guest.
const QUIT_DEADLINE: Duration = Duration::from_millis(500);

/// What a template is made of.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) dir: PathBuf,
    pub(crate) memory_mib: u32,
}

#[derive(Debug)]
pub(crate) struct FirecrackerControl {
    pub(crate) id: MachineId,
    pub(crate) cgroups: Cgroups,
    pub(crate) jail: Jail,
    /// A second hold on the process, for those signals that are this driver's own.
    pub(crate) process: Process,
    pub(crate) telemetry: Telemetry,
    pub(crate) log: Option<Log>,
    /// Where the machine's template is written.
    pub(crate) template: Option<Template>,
    /// Made when it is first needed: an adopted Firecracker may hang, or be of another version than the installed one.
    pub(crate) client: OnceCell<Client>,
}

impl FirecrackerControl {
    async fn client(&self) -> Result<&Client, ApiError> {
        self.client.get_or_try_init(|| Client::ready(self.jail.clone(), CONNECT_DEADLINE)).await
    }

    async fn state(&self) -> Result<InstanceState, ApiError> {
        Ok(self.client().await?.send(&GetInstance).await?.state)
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = self.process.signal(signal) {
            tracing::debug!(machine = %self.id, ?signal, %error, "Firecracker could not be signalled");
        }
    }
}

/// Why the guest stopped, from the exit code (`FcExitCode` in Firecracker's `src/vmm/src/lib.rs`) and its log's last messages.
fn shutdown(cause: ExitCause, messages: &str) -> Option<&'static str> {
    // It may end well all the same, when it hears of the error last.
    if messages.contains("KVM_EXIT_INTERNAL_ERROR") {
        return Some("internal-error");
    }
    match cause {
        ExitCause::Code(0) => Some("guest-reset"),
        ExitCause::Code(148) => Some("bad-system-call"),
        ExitCause::Code(156) => Some("host-signal"),
        _ => None,
    }
}

#[async_trait]
impl Control for FirecrackerControl {
    fn id(&self) -> MachineId {
        self.id.clone()
    }

    /// Firecracker has no request for this. It ends at SIGHUP, with its metrics written; SIGTERM means nothing to it when
    /// it is the first process of its namespace.
    async fn quit(&self) {
        self.signal(Signal::HUP);
        if tokio::time::timeout(QUIT_DEADLINE, self.process.gone()).await.is_err() {
            self.signal(Signal::TERM);
        }
    }

    async fn diagnose(&self, limit: Duration) -> Diagnosis {
        let oom = self.cgroups.oom(&self.id);
        let asked = tokio::time::timeout(limit, self.state()).await;
        // Before the silence, which it explains.
        if oom.is_full() {
            return Diagnosis::Wrong(match oom.limit {
                Some(limit) => {
                    format!("has used up the {} MiB of memory that its cgroup allows", limit >> 20)
                }
                None => "waits for memory, of which its cgroup has none left".to_owned(),
            });
        }
        match asked {
            Ok(Ok(InstanceState::Running)) => {
                telemetry::trouble(&self.telemetry.metrics()).map_or(Diagnosis::Fine, Diagnosis::Wrong)
            }
            Ok(Ok(InstanceState::Paused)) => Diagnosis::Wrong(
                "has paused the guest, because somebody requested it on its API \
                     socket"
                    .to_owned(),
            ),
            Ok(Ok(InstanceState::NotStarted)) => Diagnosis::Wrong("has not started its guest".to_owned()),
            Ok(Err(ApiError::Timeout { .. } | ApiError::NotReady { .. })) | Err(_) => Diagnosis::Silent,
            Ok(Err(error)) => Diagnosis::Wrong(format!("cannot be asked on its API socket: {error}")),
        }
    }

    fn detach(&self) {
        self.telemetry.detach();
    }

    fn used(&self) -> Used {
        self.cgroups.used(&self.id)
    }

    async fn finish(&self, cause: ExitCause) -> ExitReason {
        self.telemetry.drain().await;
        let oom = self.cgroups.oom(&self.id);
        if let Err(error) = self.cgroups.remove(&self.id).await {
            tracing::warn!(machine = %self.id, %error, "the machine's cgroup stays until it is swept");
        }
        let said = self.log.as_ref().map(Log::read).unwrap_or_default();
        let start = said.len().saturating_sub(usize::try_from(TAIL).unwrap_or(0));
        let messages = telemetry::last_messages(&self.jail, TAIL);
        let log_tail = [printable(&said[start..]), messages];
        ExitReason {
            cause,
            shutdown: shutdown(cause, &log_tail[1]).map(str::to_owned),
            console_tail: printable(&tail(&self.jail.console(), TAIL)),
            log_tail: log_tail.join("\n").trim().to_owned(),
            oom_kills: oom.kills,
            oom_limit: oom.limit.filter(|_| oom.kills > 0 && oom.limit_hit),
        }
    }

    async fn freeze(&self) -> Result<(), VmmError> {
        let Some(Template { dir, memory_mib }) = self.template.clone() else {
            return Err(VmmError::Refused {
                id: self.id.clone(),
                what: "be frozen".to_owned(),
                why: "it was not started as a template".to_owned(),
            });
        };
        let written = async { snapshot::write(self.client().await?).await };
        written.await.map_err(|error| error.of(&self.id))?;
        // Only what nobody can change any more is taken.
        self.signal(Signal::KILL);
        self.process.gone().await;
        let jail = self.jail.clone();
        let take = move || snapshot::take_out(&jail, memory_mib, &dir);
        tokio::task::spawn_blocking(take).await.map_err(|error| VmmError::Control {
            id: self.id.clone(),
            reason: format!("the template could not be kept: {error}"),
        })?
    }

    async fn set_metadata(&self, data: &Value) -> Result<(), VmmError> {
        let sent = async { self.client().await?.send(&machine::contents(data)?).await };
        sent.await.map_err(|error| error.of(&self.id))
    }

    async fn balloon(&self, mib: u32) -> Result<(), VmmError> {
        let sent = async { self.client().await?.send(&BalloonUpdate { amount_mib: mib }).await };
        sent.await.map_err(|error| error.of(&self.id))
    }

    async fn ballooned(&self) -> Result<u32, VmmError> {
        let asked = async { self.client().await?.send(&GetBalloonStatistics).await };
        let statistics = asked.await.map_err(|error| error.of(&self.id))?;
        Ok(u32::try_from(statistics.actual_mib).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_kvm_gave_up_has_not_rebooted() {
        assert_eq!(shutdown(ExitCause::Code(0), ""), Some("guest-reset"));
        let gave_up = "Received KVM_EXIT_INTERNAL_ERROR signal\nDiscarding unexpected vCPU response";
        assert_eq!(shutdown(ExitCause::Code(0), gave_up), Some("internal-error"));
        assert_eq!(shutdown(ExitCause::Code(156), ""), Some("host-signal"));
        assert_eq!(shutdown(ExitCause::Signal(9), ""), None);
    }
}
