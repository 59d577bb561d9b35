//! Hosts: is this one fit to run machines? (The registry of many hosts and their deployment come later.)

pub mod doctor;
