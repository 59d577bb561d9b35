//! What goes wrong with hosts, with what to do about it.

use anyhow::Error;
use fireactions_config::nearest_name;
use fireactions_fleet::registry::{Hosts, RegistryError, UpdateError};
use fireactions_fleet::ssh::SshError;
use fireactions_fleet::tags::TagError;

use super::super::edge::advise;

pub(super) fn registry(error: &RegistryError) -> Error {
    advise(error.to_string(), error.advice())
}

pub(super) fn update(error: UpdateError<Error>) -> Error {
    match error {
        UpdateError::Refused(error) => error,
        UpdateError::Registry(error) => registry(&error),
    }
}

pub(super) fn ssh(error: &SshError) -> Error {
    advise(error.to_string(), error.advice())
}

pub(super) fn tag(error: &TagError) -> Error {
    let hint = match error {
        TagError::Unknown { nearest: Some(name), .. } => format!("did you mean '{name}'?"),
        TagError::Unknown { tag, .. } => format!("write profiles/{tag}.nix, or use a tag that there is"),
        TagError::Unreadable { .. } => {
            "tags are the profiles of your flake: run this in its directory, or name it with --flake"
                .to_owned()
        }
    };
    advise(error.to_string(), hint)
}

pub(super) fn absent(hosts: &Hosts, name: &str) -> Error {
    let names: Vec<&str> = hosts.names().collect();
    let hint = match nearest_name(name, &names) {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => "`fireactions host list` shows the hosts".to_owned(),
    };
    advise(format!("there is no host '{name}' in the registry"), hint)
}
