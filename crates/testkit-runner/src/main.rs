//! Stands in for the runners of Gitea and Forgejo in a test's guest. The verb tells which one it is:
//!
//! ```text
//! act_runner     [-c FILE] daemon [--once]                                          daemon.rs
//! forgejo-runner [-c FILE] one-job --url U --uuid X --token-url file:///… \
//!                --label NAME:host [--handle H] [--wait]                            one_job.rs
//! ```
//!
//! What a server and a host see of it is what they see of the real ones: requests, log lines, exit codes, what a signal
//! does, and that it is never told when an ephemeral runner's job is cancelled. It differs in this:
//!
//! - messages go as JSON, over plain HTTP/1 only;
//! - a job's `run:` steps run, on this machine; a step with `uses:` fails and says so; expressions are few
//!   (`expression.rs`);
//! - there is no cache, no container and no artifact.
//!
//! It is one static file, so it runs in any image.

mod arguments;
mod config;
mod daemon;
mod expression;
mod http;
mod job;
mod label;
mod log;
mod one_job;
mod registration;
mod report;
mod rpc;
mod shell;
mod signals;
mod task;
mod variables;
mod wire;
mod workflow;

use std::process::ExitCode;

use arguments::{Arguments, Verb};

/// What the server is told, and `--version` prints.
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"), "+testkit");

/// forgejo-runner's exit code for "no task": nothing failed.
const NO_TASK: u8 = 2;

/// How a run ended that did not fail.
enum Ended {
    /// After a job, or a signal.
    Well,
    /// There was no task.
    NoTask,
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let ended = match Arguments::parse(&given) {
        Ok(Arguments { verb: Verb::Version, .. }) => {
            println!("fireactions-testkit-runner version {VERSION}");
            Ok(Ended::Well)
        }
        Ok(Arguments { config, verb: Verb::Daemon { once } }) => daemon::run(config.as_deref(), once),
        Ok(Arguments { config, verb: Verb::OneJob(asked) }) => one_job::run(config.as_deref(), &asked),
        Err(error) => Err(error),
    };
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::NoTask) => {
            eprintln!("Error: no task received");
            ExitCode::from(NO_TASK)
        }
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}
