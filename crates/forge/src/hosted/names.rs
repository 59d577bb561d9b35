//! Names of runners: each tells which server made it, and for which machine.

use fireactions_model::MachineId;

/// Six characters that no other host has, it is to be hoped.
pub(super) fn fresh_key() -> String {
    // The id's alphabet is readable, and its letter is cut.
    MachineId::from_random(rand::random()).as_str()[1..7].to_owned()
}

/// The name of a machine's runner: at most 64 characters, as GitHub wants it (the prefix is checked with the configuration).
pub(super) fn name(prefix: &str, key: &str, machine: &MachineId) -> String {
    format!("{prefix}-{key}-{machine}")
}

/// The machine of a runner of this name, if the name is one that a server with this key gives.
pub(super) fn machine_of(name: &str, key: &str) -> Option<MachineId> {
    let (_, machine) = name.rsplit_once('-')?;
    (runner_key(name)? == key).then(|| MachineId::new(machine).ok()).flatten()
}

/// The key of the server that has a runner of this name.
pub fn runner_key(name: &str) -> Option<&str> {
    let (rest, _) = name.rsplit_once('-')?;
    Some(rest.rsplit_once('-')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is() {
        let machine = MachineId::from_random([7; 8]);
        let key = fresh_key();
        assert_eq!(key.len(), 6);
        let name = name("ci-with-hyphens", &key, &machine);
        assert_eq!(machine_of(&name, &key), Some(machine.clone()));
        assert_eq!(machine_of(&name, "another"), None);
        for other in ["ci", "", "a-b-c", &format!("{key}-{machine}"), &format!("ci-{key}-m123")] {
            assert_eq!(machine_of(other, &key), None, "{other}");
        }
        assert!(super::name(&"p".repeat(45), &key, &machine).len() <= 64);
    }
}
