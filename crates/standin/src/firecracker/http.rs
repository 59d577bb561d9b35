//! As much of HTTP/1.1 as Firecracker's server speaks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::json;

/// The longest body, unless `--http-api-max-payload-size` says otherwise.
pub(crate) const MAX_PAYLOAD: usize = 51_200;

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// `None` when there is none; an empty one counts as none.
    pub(crate) body: Option<Vec<u8>>,
}

/// One answer.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Option<String>,
    /// The request used something that will be removed.
    pub(crate) deprecated: bool,
}

impl Response {
    pub(crate) fn empty() -> Self {
        Self { status: 204, ..Self::default() }
    }

    pub(crate) fn json(value: &impl serde::Serialize) -> Self {
        Self { status: 200, body: serde_json::to_string(value).ok(), ..Self::default() }
    }

    pub(crate) fn fault(status: u16, message: &str) -> Self {
        let body = json!({ "fault_message": message }).to_string();
        Self { status, body: Some(body), ..Self::default() }
    }

    /// Writes it out.
    pub(crate) fn write(&self, stream: &mut UnixStream) -> io::Result<()> {
        let deprecated = if self.deprecated { "Deprecation: true\r\n" } else { "" };
        let rest = self.body.as_ref().map_or_else(
            || "\r\n".to_owned(),
            |body| format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        );
        let text = format!(
            "HTTP/1.1 {} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n{deprecated}{rest}",
            self.status
        );
        stream.write_all(text.as_bytes())
    }
}

/// What came of reading.
pub(crate) enum Read1 {
    Request(Request),
    /// To be answered with this, and then the connection is no good any more.
    Bad(Response),
    /// The client has gone.
    End,
}

/// The reading half of a connection.
pub(crate) struct Reader(BufReader<UnixStream>);

impl Reader {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// The next request.
    pub(crate) fn next(&mut self, limit: usize) -> Read1 {
        match self.read(limit) {
            Ok(read) => read,
            Err(_) => Read1::End,
        }
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        // Firecracker's own buffer for a line is as long.
        self.0.by_ref().take(1024).read_until(b'\n', &mut line)?;
        Ok(line.strip_suffix(b"\r\n").map(|line| String::from_utf8_lossy(line).into_owned()))
    }

    fn read(&mut self, limit: usize) -> io::Result<Read1> {
        if self.0.fill_buf()?.is_empty() {
            return Ok(Read1::End);
        }
        let Some(first) = self.line()? else { return Ok(bad(400, "Invalid HTTP request line.")) };
        let mut words = first.split(' ');
        let (method, path, version) = (words.next(), words.next(), words.next());
        let method = method.filter(|method| ["GET", "PUT", "PATCH", "DELETE"].contains(method));
        let (Some(method), Some(path), Some("HTTP/1.1" | "HTTP/1.0")) = (method, path, version) else {
            return Ok(bad(400, "Invalid HTTP Method: Unsupported HTTP method."));
        };
        let mut length = 0;
        loop {
            let Some(line) = self.line()? else { return Ok(bad(400, "Invalid header.")) };
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { return Ok(bad(400, "Invalid header.")) };
            if name.eq_ignore_ascii_case("content-length") {
                let Ok(given) = value.trim().parse::<usize>() else {
                    return Ok(bad(400, "Invalid value in header Content-Length."));
                };
                length = given;
            }
        }
        if length > limit {
            let why = format!(
                "Request payload with size {length} is larger than the limit of {limit} allowed by server."
            );
            return Ok(bad(400, &why));
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Read1::Request(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            body: (length > 0).then_some(body),
        }))
    }
}

fn bad(status: u16, why: &str) -> Read1 {
    let body = format!("{{ \"error\": \"{why}\nAll previous unanswered requests will be dropped.\" }}");
    Read1::Bad(Response { status, body: Some(body), deprecated: false })
}
