//! The guest's side of a fireactions microVM, one static binary with four ways to start:
//!
//! ```text
//!  kernel ─▶ /init (PID 1) ─▶ init.rs: modules, root, switch_root
//!                               ├─ fireactions.init=agent ─▶ run.rs, for ever
//!                               └─ fireactions.init=image ─▶ spawn "service" ─▶ exec the image's /sbin/init
//!  "service"                  ─▶ service.rs ─▶ run.rs, for ever
//!  "stage" (from spawn.rs)    ─▶ stage.rs: become the job's user, exec its program
//!  --version
//! ```
//!
//! What runs in the guest is hostile, and a job may be root there: it can kill, trace or replace this agent. Nothing
//! here tries to prevent that; the border is the virtual machine. The agent only sees to it that an honest job cannot
//! break it by accident (memory, signals, file descriptors, left-over children), and the host believes nothing that
//! it says.

mod answer;
mod archive;
mod cgroup;
mod clock;
mod cmdline;
mod console;
mod copy;
mod data;
mod devices;
mod drop_ins;
mod enter;
mod entropy;
mod exec;
mod files;
mod hang_up;
mod identity;
mod init;
mod inside;
mod job;
mod key_store;
mod module_tree;
mod modules;
mod mounts;
mod network;
mod notes;
mod port;
mod power;
mod reaper;
mod renew;
mod replace;
mod root;
mod rootless;
mod run;
mod service;
mod services;
mod settle;
mod spawn;
mod stage;
mod sticky;
mod swap;
mod timer;
mod units;
mod users;

use std::process::ExitCode;

/// What `--version` prints and the host is told.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    match verb.as_deref() {
        Some("--version" | "-V") => {
            println!("fireactions-agent {VERSION}");
            ExitCode::SUCCESS
        }
        Some(stage::VERB) => stage::main(),
        Some(service::VERB) => service::main(),
        // The kernel hands unknown words of its command line to /init as arguments: as PID 1 they mean nothing.
        _ if std::process::id() == 1 => init::main(),
        _ => {
            eprintln!(
                "fireactions-agent {VERSION}: runs as /init of a microVM and does nothing outside of \
                 one"
            );
            ExitCode::from(64)
        }
    }
}
