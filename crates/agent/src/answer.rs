//! What a program of the image says when the agent asks it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use fireactions_guest_proto::Exit;

use crate::reaper::Reaper;
use crate::{job, spawn, stage};

/// Bytes of an answer.
const MOST: u64 = 16 * 1024;

/// Runs a program of the image as root; what it prints, however it ends.
pub(crate) fn answer(reaper: &Reaper, argv: &[&str]) -> Result<String, String> {
    let request = stage::Request {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        user: String::new(),
        workdir: String::new(),
        cgroup: None,
        stdin: "/dev/null".into(),
        terminal: false,
        give: Vec::new(),
    };
    let failed = |error: io::Error| format!("'{}' cannot be asked: {error}", argv.join(" "));
    let (from, to) = job::pipe().map_err(failed)?;
    let null = File::options().write(true).open("/dev/null").map_err(failed)?;
    let pid = spawn::start(reaper, &request, to, OwnedFd::from(null))?;
    let mut text = Vec::new();
    let read = File::from(from).take(MOST).read_to_end(&mut text);
    let exit = reaper.wait(pid);
    read.map_err(failed)?;
    match exit {
        Exit::Code(_) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Exit::Signal(signal) => Err(format!("'{}' was ended by signal {signal}", argv.join(" "))),
        Exit::Unstartable(why) => Err(why),
    }
}
