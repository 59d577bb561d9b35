//! A host's cache of jobs that keeps nothing but what it is told.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use fireactions_model::{JobCaches, MachineId, Origin, Secret};

/// What a cache was told of each machine.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) machines: Mutex<BTreeMap<MachineId, Vec<String>>>,
}

impl Told {
    fn note(&self, machine: &MachineId, what: String) {
        self.machines.lock().unwrap().entry(machine.clone()).or_default().push(what);
    }

    pub(crate) fn of(&self, machine: &MachineId) -> Vec<String> {
        self.machines.lock().unwrap().get(machine).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl JobCaches for Told {
    async fn admit(&self, machine: &MachineId) -> Option<Secret> {
        self.note(machine, "admitted".to_owned());
        Some(Secret::new(format!("http://cache.example/{machine}/")))
    }

    fn is_open(&self, machine: &MachineId) -> bool {
        self.of(machine) == ["admitted"]
    }

    async fn confirm(&self, machine: &MachineId, origin: &Origin) {
        let Origin { forge, repository, repository_id, default_branch, event, reference } = origin;
        assert!(["work", "github"].contains(&forge.as_str()));
        assert_eq!(default_branch, "main");
        let reference = reference.as_deref().unwrap_or("?");
        assert!(*repository_id > 0);
        self.note(machine, format!("{repository} {event} {reference}"));
    }

    async fn end(&self, machine: &MachineId) {
        self.note(machine, "ended".to_owned());
    }
}
