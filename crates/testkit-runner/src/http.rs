//! The least of HTTP that asks a server of the runner protocol: one POST of JSON for each connection. Spoken as HTTP/1.0,
//! so that an answer ends where the connection does, or where its `Content-Length` says.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::config::plain;

/// The most of an answer that is read: a task holds a whole workflow and the event that began it.
const LARGEST: u64 = 64 << 20;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// `host:port`, to connect to.
    authority: String,
    /// What every path begins with, without a slash at its end.
    prefix: String,
}

impl Url {
    /// Reads `http://HOST[:PORT][/PREFIX]`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            format!("the address '{text}' does not begin with http://, and this runner knows nothing else")
        })?;
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = authority.rsplit(']').next().unwrap_or_default();
        let authority = if host.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        if authority.starts_with(':') || authority.contains('@') {
            return Err(format!("the address '{text}' has no host"));
        }
        Ok(Self { authority, prefix: prefix.trim_end_matches('/').to_owned() })
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Sends a body and reads the answer, all within `within`. An error is in the words of the real runners' library.
pub(crate) fn post(
    url: &Url,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    within: Duration,
) -> Result<Answer, String> {
    let failed = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            "deadline_exceeded: context deadline exceeded".to_owned()
        }
        _ => format!("unavailable: dial tcp {}: {}", url.authority, plain(error)),
    };
    let deadline = Instant::now() + within;
    let mut stream = connect(&url.authority, within).map_err(|error| failed(&error))?;
    let mut head = format!("POST {}{path} HTTP/1.0\r\nHost: {}\r\n", url.prefix, url.authority);
    for (name, value) in headers {
        if value.contains(['\r', '\n']) {
            return Err(format!("the value of {name} has more than one line"));
        }
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let exchanged = left(&stream, deadline)
        .and_then(|()| stream.write_all(head.as_bytes()))
        .and_then(|()| stream.write_all(body))
        .and_then(|()| read(&mut stream, deadline));
    answer(&exchanged.map_err(|error| failed(&error))?)
}

fn connect(authority: &str, within: Duration) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, within) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Gives reads and writes what is left of the time.
fn left(stream: &TcpStream, deadline: Instant) -> std::io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left))?;
    stream.set_write_timeout(Some(left))
}

fn read(stream: &mut TcpStream, deadline: Instant) -> std::io::Result<Vec<u8>> {
    let (mut all, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        if Instant::now() >= deadline {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        left(stream, deadline)?;
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&piece[..count]);
        if all.len() as u64 > LARGEST {
            return Err(std::io::Error::other("the answer is too large"));
        }
    }
}

fn answer(bytes: &[u8]) -> Result<Answer, String> {
    let parsed = || {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let mut body = &bytes[end + 4..];
        for line in lines {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                body = body.get(..value.trim().parse().ok()?)?;
            }
        }
        Some(Answer { status, body: body.to_vec() })
    };
    parsed().ok_or_else(|| "unavailable: unexpected EOF".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let url = |authority: &str, prefix: &str| Url { authority: authority.into(), prefix: prefix.into() };
        assert_eq!(Url::parse("http://10.0.0.1:3000/"), Ok(url("10.0.0.1:3000", "")));
        assert_eq!(Url::parse("http://forge.test/git/"), Ok(url("forge.test:80", "/git")));
        assert_eq!(Url::parse("http://[fd00::1]"), Ok(url("[fd00::1]:80", "")));
        assert_eq!(Url::parse("http://[fd00::1]:3000"), Ok(url("[fd00::1]:3000", "")));
        for wrong in ["https://forge.test", "http://", "http://a:b@forge.test:1", "forge.test"] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        let whole = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((whole.status, whole.body.as_slice()), (200, &b"{}"[..]));
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}").is_err());
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-").is_err());
        assert!(answer(b"").is_err());
    }
}
