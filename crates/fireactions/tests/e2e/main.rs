//! End to end: a real server, real microVMs under emulation, real taps and rules in a network namespace, driven by
//! the command line.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod actions_cache;
mod bulk;
mod cancel;
mod cluster;
mod containers;
mod crashes;
mod drain;
mod driver;
mod evidence;
mod existing_images;
mod files;
mod forges;
mod gitea;
mod github;
mod handover;
mod hold;
mod hostile;
mod hung;
mod images;
mod impostor;
mod inside;
mod installed;
mod isolation;
mod jobs;
mod journal;
mod namespace;
mod own_init;
mod page;
mod pools;
mod prepared;
mod published;
mod reboot;
mod rebuilt;
mod registry_cache;
mod restart;
mod result;
mod service;
mod sharing;
mod shutdown;
mod squid;
mod standin;
mod sticky;
mod stored_images;
mod successor;
mod telemetry;
mod top;
mod two_servers;
mod units;
mod waiting;
#[cfg(feature = "failpoints")]
mod walk;
mod web_proxy;
mod world;
mod zot;

#[cfg(not(feature = "failpoints"))]
#[test]
#[ignore = "the walk over the fail points needs --features fireactions/failpoints, as `make test` has it"]
fn killed_at_each_fail_point_the_server_loses_and_leaves_nothing() {}
