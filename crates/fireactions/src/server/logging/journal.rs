//! systemd's journal, by its own protocol: each message with its fields, so that `journalctl FIREACTIONS_JOB=…` finds them.
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The most bytes of a value. With all its fields a message is a datagram that every system takes.
const LONGEST: usize = 16 * 1024;
/// The most fields of a message, as many as `tracing` has.
const FIELDS: usize = 32;
/// What the names of fields begin with, so that they are not another program's.
const PREFIX: &str = "FIREACTIONS_";

/// Whether this is what systemd has connected with the journal: `$JOURNAL_STREAM` names its device and inode.
pub(super) fn is_connected(output: impl AsFd, stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else { return false };
    let Ok(stat) = rustix::fs::fstat(output) else { return false };
    device.parse() == Ok(stat.st_dev) && inode.parse() == Ok(stat.st_ino)
}

/// Sends what is logged to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    pub(super) fn new() -> std::io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // That there is one, and that it may be written to.
        socket.send_to(&[], path)?;
        Ok(Self { socket, path: path.to_owned() })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut entry = Entry::default();
        event.record(&mut entry);
        let Entry { message, said, mut fields, .. } = entry;
        field(&mut fields, "MESSAGE", &(message + &said));
        field(&mut fields, "PRIORITY", priority(*metadata.level()));
        field(&mut fields, "SYSLOG_IDENTIFIER", "fireactions");
        field(&mut fields, &format!("{PREFIX}TARGET"), metadata.target());
        // The journal is there again after a restart, so the next message may arrive.
        if self.socket.send_to(&fields, &self.path).is_err() {
            let _ = writeln!(std::io::stderr(), "{}", String::from_utf8_lossy(&fields).replace('\n', " "));
        }
    }
}

/// As syslog(3) has them.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// A message, while its fields are looked at.
#[derive(Default)]
struct Entry {
    message: String,
    /// The fields once more, for who reads the message alone.
    said: String,
    fields: Vec<u8>,
    count: usize,
}

impl Entry {
    fn add(&mut self, of: &Field, value: &str, shown: fmt::Arguments<'_>) {
        if of.name() == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        // A text cannot fail to be written into.
        let _ = write!(self.said, " {}={shown}", of.name());
        self.count += 1;
        if self.count <= FIELDS {
            field(&mut self.fields, &name(of.name()), value);
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value, format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let text = value.to_string();
        self.add(field, &text, format_args!("{text}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.add(field, &text, format_args!("{text}"));
    }
}

/// The journal takes names of capitals, digits and underscores, up to 64 of them.
fn name(of: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    PREFIX.chars().chain(of.chars().map(plain)).take(64).collect()
}

/// A field, as the protocol has it: with its length, if its value has several lines.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    let end = (0..=LONGEST.min(value.len())).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
    let value = &value.as_bytes()[..end];
    entry.extend(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests;
