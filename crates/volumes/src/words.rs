//! Which machines' jobs may keep what they have written, by their forge's word.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fireactions_model::MachineId;

use crate::Writer;

/// What is known of machines that have a job. A machine of which nothing is known keeps nothing.
#[derive(Debug, Default)]
pub struct Words(Mutex<HashMap<MachineId, Word>>);

/// What a forge has said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// Nothing yet.
    Open,
    /// What its job writes is nobody's but its own.
    No,
    /// What its job writes is the owner's.
    Yes(Writer),
}

impl Words {
    fn known(&self) -> MutexGuard<'_, HashMap<MachineId, Word>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine's job begins, and its forge will say whose it is. Asked again, it changes nothing.
    pub fn expect(&self, machine: &MachineId) {
        self.known().entry(machine.clone()).or_insert(Word::Open);
    }

    /// Whether the forge has not said yet whose the machine's job is.
    pub fn is_open(&self, machine: &MachineId) -> bool {
        self.known().get(machine) == Some(&Word::Open)
    }

    /// The forge has said it: with a writer, what the job writes may be kept. A refusal stands, and nobody is told of who is not
    /// expected.
    pub fn tell(&self, machine: &MachineId, writer: Option<Writer>) {
        if let Some(word) = self.known().get_mut(machine)
            && *word != Word::No
        {
            *word = writer.map_or(Word::No, Word::Yes);
        }
    }

    /// Who has written on the machine's disks, if that may be kept.
    pub fn writer(&self, machine: &MachineId) -> Option<Writer> {
        match self.known().get(machine) {
            Some(Word::Yes(writer)) => Some(writer.clone()),
            _ => None,
        }
    }

    /// The machine's job is over. Idempotent.
    pub fn end(&self, machine: &MachineId) {
        self.known().remove(machine);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_word_lets_a_machine_keep_anything_and_a_refusal_stands() {
        let words = Words::default();
        let machine = MachineId::from_random([1; 8]);
        let writer = Writer { job: "push".into(), owner: 7 };
        words.tell(&machine, Some(writer.clone()));
        assert_eq!(words.writer(&machine), None, "nobody expected it");
        words.expect(&machine);
        assert!(words.is_open(&machine) && words.writer(&machine).is_none());
        words.tell(&machine, Some(writer.clone()));
        words.expect(&machine);
        assert_eq!(words.writer(&machine), Some(writer.clone()));
        words.tell(&machine, None);
        words.tell(&machine, Some(writer));
        assert!(!words.is_open(&machine) && words.writer(&machine).is_none());
        words.end(&machine);
        assert!(!words.is_open(&machine));
    }
}
