//! The guest's life: boot, configure, one job, the end.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use fireactions_guest_proto::Exit;
use fireactions_guest_proto::guest::{About, Channel, Event, Exec, GetFile, Session};

use crate::agent::Mouth;
use crate::faults::Faults;
use crate::job::{Job, Standing, left};
use crate::script::{self, Step};

/// Only bounds one wait; nothing happens when it passes.
const IDLE: Duration = Duration::from_secs(3600);
/// As the real agent's: what was queued for the host before a power-off gets this long to leave.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// What the guest is played on.
pub(crate) struct Stage {
    /// Takes lines of the serial port.
    pub(crate) console: Box<dyn Fn(&str)>,
    /// Ends the process as the VMM would.
    pub(crate) end: Box<dyn Fn(End) -> Infallible>,
    /// Returns when the guest's processors may run.
    pub(crate) gate: Box<dyn Fn()>,
    pub(crate) mouth: Mouth,
    pub(crate) channel: Channel,
    pub(crate) faults: Faults,
    /// The guest comes from a snapshot.
    pub(crate) restored: bool,
}

/// How a guest ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    PowerOff,
    Panic,
}

/// Plays until the process ends. The error is for people.
pub(crate) fn play(stage: Stage) -> Result<Infallible, String> {
    let Stage { console, end, gate, mouth, channel, faults, restored } = stage;
    let death = faults.lifetime().map(|life| Instant::now() + life);
    if !restored {
        console("[    0.000000] Linux version 0 (stand-in)");
        std::thread::sleep(faults.boot);
    }
    gate();
    if faults.silent {
        mouth.shut();
    }
    let boot_us = u64::try_from(faults.boot.as_micros()).unwrap_or(u64::MAX);
    let about =
        About { agent_version: env!("CARGO_PKG_VERSION").to_owned(), kernel: "stand-in".to_owned(), boot_us };
    let session = Session::start(channel, about).map_err(|error| format!("the agent's socket: {error}"))?;
    let mut guest = Guest { console, end, gate, mouth, session, job: None, withheld: None };
    loop {
        guest.turn(death);
    }
}

struct Guest {
    console: Box<dyn Fn(&str)>,
    end: Box<dyn Fn(End) -> Infallible>,
    gate: Box<dyn Fn()>,
    mouth: Mouth,
    session: Session,
    job: Option<Job>,
    /// Files that were asked for and are not handed out.
    withheld: Option<Vec<GetFile>>,
}

impl Guest {
    /// Plays the job as far as it goes, then waits for the next thing that happens.
    fn turn(&mut self, death: Option<Instant>) {
        (self.gate)();
        let next = match self.job.as_mut().map(|job| job.play(&self.session)) {
            Some(Standing::Withholds) => {
                self.withheld = Some(Vec::new());
                return;
            }
            None => None,
            Some(Standing::Pauses(until)) => until,
            Some(Standing::Ended(result)) => {
                self.job = None;
                self.session.exited(result);
                None
            }
            Some(Standing::Dies) => self.panic("the job said so"),
            Some(Standing::Mute) => {
                self.mouth.shut();
                None
            }
        };
        if death.is_some_and(|death| death <= Instant::now()) {
            self.panic("its time had come");
        }
        let soonest = [next, death].into_iter().flatten().min();
        if let Some(event) = self.session.next(soonest.map_or(IDLE, left)) {
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected { .. } | Event::Disconnected | Event::Clock { .. } => {}
            Event::Settle { .. } => self.session.settled(Ok(())),
            Event::Release => self.session.released(Ok(())),
            Event::Configure(identity) => {
                (self.console)(&format!("[    0.000000] {} is configured", identity.hostname));
                self.session.configured(Ok(Vec::new()));
            }
            Event::Run(request) => {
                let job = Job::new(script::parse(&request.argv));
                if let Some(result) = job.unstartable() {
                    self.session.exited(result);
                } else {
                    self.session.started(2);
                    self.job = Some(job);
                }
            }
            Event::Signal(signal) => {
                if let Some(job) = &mut self.job {
                    job.signal(signal);
                }
            }
            Event::PutFile(mut put) => {
                // The bytes are the host's to send; nothing keeps them.
                let read = std::io::copy(&mut put.data.by_ref().take(put.size), &mut std::io::sink());
                put.done.finish(match read {
                    Ok(count) if count == put.size => Ok(()),
                    Ok(count) => Err(format!("{count} of {} bytes came", put.size)),
                    Err(error) => Err(error.to_string()),
                });
            }
            Event::GetFile(mut get) => {
                if let Some(withheld) = &mut self.withheld {
                    withheld.push(get);
                    return;
                }
                // Two empty blocks are an empty archive.
                let written = get.data.write_all(&[0; 1024]);
                get.done.finish(written.map_err(|error| error.to_string()));
            }
            Event::Exec(exec) => self.exec(exec),
            Event::PowerOff => {
                self.session.flush(FLUSH_DEADLINE);
                self.end(End::PowerOff)
            }
        }
    }

    /// Plays a program beside the job: what it says and how it ends, without its pauses.
    fn exec(&mut self, mut exec: Exec) {
        let mut exit = Exit::Code(0);
        for step in script::parse(&exec.request.argv) {
            let written = match step {
                Step::Print(text) => writeln!(exec.stdout, "{text}"),
                Step::PrintErr(text) => writeln!(exec.stderr, "{text}"),
                Step::Exit(code) => {
                    exit = Exit::Code(code & 0xff);
                    break;
                }
                Step::Signal(signal) => {
                    exit = Exit::Signal(signal);
                    break;
                }
                Step::Tell => {
                    if let Some(job) = &mut self.job {
                        job.told();
                    }
                    Ok(())
                }
                Step::Die => self.panic("an exec said so"),
                Step::Mute => {
                    self.mouth.shut();
                    Ok(())
                }
                _ => Ok(()),
            };
            if written.is_err() {
                break;
            }
        }
        exec.control.finish(exit);
    }

    /// As a kernel with `panic=-1` under `-no-reboot`.
    fn panic(&self, why: &str) -> ! {
        (self.console)(&format!("[    0.000000] Kernel panic - not syncing: {why}"));
        self.end(End::Panic)
    }

    fn end(&self, end: End) -> ! {
        match (self.end)(end) {}
    }
}
