//! In Firecracker's place (version 1.17): its command line, its API with the order that it enforces, its sockets.
//! Behind the API the guest is played, or a real QEMU emulates it, by the name of the program (`…played…` or not).
//!
//! ```text
//! main thread   carries out one request after the other      vmm.rs
//! api           accepts connections, a thread for each       server.rs
//! ```

pub(crate) mod arguments;
mod config;
mod cpu;
mod emulated;
mod guest;
mod http;
mod inside;
mod kernel_line;
mod kind;
mod memory;
mod mmds;
mod monitor;
mod outputs;
mod played;
mod relay;
mod request;
mod resources;
mod server;
mod snapshot;
mod tap;
mod vmm;
mod vsock;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use arguments::Arguments;
use config::Level;
use kind::Kind;
use outputs::Outputs;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use vmm::Vmm;

/// What `--version` and the API say.
pub(crate) const VERSION: &str = "1.17.0-dev";

/// Exit code of Firecracker for arguments that it does not take.
const BAD_ARGUMENTS: u8 = 153;

/// Runs until the machine has ended.
pub(crate) fn main(name: &str, given: &[String]) -> ExitCode {
    let arguments = match Arguments::parse(given) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("Error: ParseArguments: Arguments parsing error: {error}");
            return ExitCode::from(BAD_ARGUMENTS);
        }
    };
    if arguments.version {
        println!("Firecracker v{VERSION}\n");
        return ExitCode::SUCCESS;
    }
    let kind = if name.contains("played") { Kind::Played } else { Kind::Emulated };
    match serve(arguments, kind) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments, kind: Kind) -> Result<(), String> {
    let outputs = Outputs::new(&arguments.id, arguments.level, arguments.show_level);
    if let Some(path) = &arguments.log_path {
        outputs.log_to(path).map_err(|error| format!("Could not initialize logger: {error}"))?;
    }
    outputs.log(Level::Info, "main", &format!("Running Firecracker v{VERSION}"));
    if let Some(path) = &arguments.metrics_path {
        outputs.metrics_to(path).map_err(|error| format!("Could not initialize metrics: {error}"))?;
    }
    let requests = server::start(&inside::host_path(&arguments.api_sock), arguments.max_payload)
        .map_err(|error| {
            let path = arguments.api_sock.display();
            format!("RunWithApi: Failed to open the API socket at: {path}. Check that it is not already used. ({error})")
        })?;
    Vmm::new(arguments, kind, outputs).run(&requests)
}

/// Starts `[parent's process id, program, arguments…]` in this process's place, to be killed when the parent dies.
/// Returns why it could not.
pub(crate) fn launch(given: &[String]) -> String {
    let [parent, program, arguments @ ..] = given else {
        return "a parent and a program are needed".to_owned();
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("cannot ask for a signal: {error}");
    }
    // It may have died before.
    if getppid().map(|pid| pid.as_raw_nonzero().to_string()).as_deref() != Some(parent.as_str()) {
        return "the parent has gone".to_owned();
    }
    let error = Command::new(program).args(arguments).exec();
    format!("cannot start {program}: {error}; `make setup` installs it")
}
