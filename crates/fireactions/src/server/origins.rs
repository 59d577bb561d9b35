//! What the host does with its forges' word on whose a job is: the cache of actions, and sticky directories.

use std::sync::Arc;

use async_trait::async_trait;
use fireactions_model::{JobCaches, MachineId, Origin, Secret};

use super::actions_cache::ActionsCache;
use super::sticky::Sticky;

/// Whatever wants to know.
struct Origins {
    actions: Option<ActionsCache>,
    sticky: Option<Sticky>,
}

/// Forges' view of what wants to know; nothing if nothing does.
pub(super) fn of_forges(
    actions: Option<&ActionsCache>,
    sticky: Option<&Sticky>,
) -> Option<Arc<dyn JobCaches>> {
    let origins = Origins { actions: actions.cloned(), sticky: sticky.cloned() };
    (actions.is_some() || sticky.is_some()).then(|| Arc::new(origins) as Arc<dyn JobCaches>)
}

#[async_trait]
impl JobCaches for Origins {
    async fn admit(&self, machine: &MachineId) -> Option<Secret> {
        if let Some(sticky) = &self.sticky {
            sticky.admit(machine).await;
        }
        match &self.actions {
            Some(actions) => actions.admit(machine).await,
            None => None,
        }
    }

    fn is_open(&self, machine: &MachineId) -> bool {
        let waits = |sticky: &Sticky| sticky.volumes().words().is_open(machine);
        self.actions.as_ref().is_some_and(|actions| actions.is_open(machine))
            || self.sticky.as_ref().is_some_and(waits)
    }

    async fn confirm(&self, machine: &MachineId, origin: &Origin) {
        if let Some(sticky) = &self.sticky {
            sticky.confirm(machine, origin).await;
        }
        if let Some(actions) = &self.actions {
            actions.confirm(machine, origin).await;
        }
    }

    async fn end(&self, machine: &MachineId) {
        if let Some(sticky) = &self.sticky {
            sticky.end(machine);
        }
        if let Some(actions) = &self.actions {
            actions.end(machine).await;
        }
    }
}
