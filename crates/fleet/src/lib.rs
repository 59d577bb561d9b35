//! Hosts: is this one, or another, fit to run machines; which hosts are there; how a new one is set up.
//!
//! ```text
//!  doctor                    this host, looked at closely
//!  prerequisites ─▶ ssh      another host: facts that a script collects there, judged by the script's own rules
//!  registry                  hosts/registry.json: read leniently, changed under a lock, replaced atomically
//!  keys                      who can log in to a new host
//!  deploy ─▶ installer       facts and wishes → what would be erased; then the program that installs NixOS
//! ```

pub mod age;
pub mod deploy;
pub mod doctor;
pub mod facts;
pub mod host;
pub mod installer;
pub mod keys;
pub mod prerequisites;
pub mod provider;
pub mod registry;
pub mod ssh;
pub mod tags;

mod ask;
