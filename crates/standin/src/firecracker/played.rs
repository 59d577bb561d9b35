//! A guest that is only played.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::resources::Config;
use super::vsock;
use crate::agent::Mouth;
use crate::faults::Faults;
use crate::play::{Stage, play};

/// A played guest.
pub(crate) struct Played {
    pub(crate) gate: Gate,
}

/// Whether the guest's processors run.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn set(&self, open: bool) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = open;
        self.0.1.notify_all();
    }

    pub(crate) fn open(&self) {
        self.set(true);
    }

    pub(crate) fn close(&self) {
        self.set(false);
    }

    fn pass(&self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Played {
    /// Starts to play; a restored guest waits until it is resumed.
    pub(crate) fn start(config: &Config, restored: bool) -> Result<Self, String> {
        let line = config.boot.as_ref().and_then(|boot| boot.boot_args.as_deref()).unwrap_or_default();
        let faults = Faults::parse(line)?;
        let (Some(vsock), Some(port)) = (&config.vsock, vsock::agent_port(line)) else {
            return Err("a played guest needs a vsock device and fireactions.vsock=PORT among its boot_args"
                .to_owned());
        };
        let path = vsock::host_port(&vsock.uds_path, port);
        let serial = !line.split_whitespace().any(|word| word == "8250.nr_uarts=0");
        let gate = Gate::default();
        if !restored {
            gate.open();
        }
        let passed = gate.clone();
        let mouth = Mouth::default();
        let channel = mouth.dialling(path);
        let run = move || {
            let stage = Stage {
                console: Box::new(move |text| {
                    if serial {
                        let _ = std::io::stdout().write_all(format!("{text}\r\n").as_bytes());
                    }
                }),
                // The agent ends every machine by a restart, and a panic restarts as well.
                end: Box::new(|_| std::process::exit(0)),
                gate: Box::new(move || passed.pass()),
                mouth,
                channel,
                faults,
                restored,
            };
            let Err(error) = play(stage);
            eprintln!("fireactions-standin: {error}");
            std::process::exit(1);
        };
        let thread = std::thread::Builder::new().name("guest".to_owned()).spawn(run);
        thread.map_err(|error| format!("no thread for the guest: {error}"))?;
        Ok(Self { gate })
    }

    /// Whether a fault among the kernel's arguments makes the API fall silent.
    pub(crate) fn is_deaf(config: &Config) -> bool {
        let line = config.boot.as_ref().and_then(|boot| boot.boot_args.as_deref()).unwrap_or_default();
        Faults::parse(line).is_ok_and(|faults| faults.deaf)
    }
}
