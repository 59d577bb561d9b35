//! What the metadata service answers. Statuses, words and oddities are Firecracker's: it answers 501 to a method that its server
//! does not know, 405 to one that it knows and does not want.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::super::config::{Mmds, MmdsVersion};
use super::store::{Format, Missing, Shared};
use super::token::{LIFETIMES, NoToken, Tokens};

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN: [&str; 2] = ["x-metadata-token", "x-aws-ec2-metadata-token"];
const LIFETIME: [&str; 2] = ["x-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token-ttl-seconds"];
const FORWARDED: &str = "x-forwarded-for";

/// The service of one machine, on all cards that lead to it.
#[derive(Debug)]
pub(crate) struct Service {
    version: MmdsVersion,
    /// EC2's service looks at no `Accept`.
    imds_compat: bool,
    store: Shared,
    tokens: Mutex<Tokens>,
}

/// A request that could be read.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    accept: Format,
}

/// An answer before it is bytes.
struct Answer {
    status: u16,
    headers: String,
    format: Format,
    body: String,
}

impl Answer {
    fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: String::new(), format: Format::Imds, body: body.into() }
    }
}

/// Where the first request ends, if all of it is there: its headers do. Requests with a body are refused.
pub(crate) fn end(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find_map(|at| match &bytes[at..] {
        [b'\n', b'\n', ..] => Some(at + 2),
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

impl Service {
    pub(crate) fn new(config: &Mmds, store: Shared) -> Self {
        Self { version: config.version, imds_compat: config.imds_compat, store, tokens: Mutex::default() }
    }

    /// Answers one request, of which `bytes` are all.
    pub(crate) fn answer(&self, bytes: &[u8], now: Instant) -> Vec<u8> {
        let (version, answer) = match parse(bytes) {
            Ok((version, request)) => (version, self.respond(&request, now)),
            Err(refused) => ("HTTP/1.1", refused),
        };
        let kind = if answer.format == Format::Json { "application/json" } else { "text/plain" };
        let (status, headers, length, body) = (answer.status, answer.headers, answer.body.len(), answer.body);
        format!(
            "{version} {status} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n{headers}Content-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    fn respond(&self, request: &Request<'_>, now: Instant) -> Answer {
        if request.path.is_empty() {
            return Answer::text(400, "Invalid URI.");
        }
        match request.method {
            "GET" => self.get(request, now),
            "PUT" => self.put(request, now),
            _ => {
                let refused = Answer::text(405, "Not allowed HTTP method.");
                Answer { headers: "Allow: GET, PUT\r\n".to_owned(), ..refused }
            }
        }
    }

    fn get(&self, request: &Request<'_>, now: Instant) -> Answer {
        if self.version == MmdsVersion::V2 {
            let Some((_, token)) = request.header(&TOKEN) else {
                return Answer::text(
                    401,
                    "No MMDS token provided. Use `X-metadata-token` or `X-aws-ec2-metadata-token` header to specify the \
                     session token.",
                );
            };
            if !self.tokens().is_valid(token, now) {
                return Answer::text(401, "MMDS token not valid.");
            }
        }
        let format = if self.imds_compat { Format::Imds } else { request.accept };
        match self.store.lock().value(&one_slash(request.path), format) {
            // The type is what was asked for, whatever is said.
            Ok(body) => Answer { status: 200, headers: String::new(), format: request.accept, body },
            Err(Missing::NotFound) => not_found(request.path),
            Err(Missing::UnsupportedType) => {
                Answer::text(501, "Cannot retrieve value. The value has an unsupported type.")
            }
        }
    }

    fn put(&self, request: &Request<'_>, now: Instant) -> Answer {
        if let Some((name, _)) = request.header(&[FORWARDED]) {
            return Answer::text(
                400,
                format!("Invalid header. Reason: Unsupported header name. Key: {name}"),
            );
        }
        if one_slash(request.path) != TOKEN_PATH {
            return not_found(request.path);
        }
        let Some((name, value)) = request.header(&LIFETIME) else {
            return Answer::text(
                400,
                "Token time to live value not found. Use `X-metadata-token-ttl-seconds` or \
                 `X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's lifetime.",
            );
        };
        let Ok(seconds) = value.parse::<u32>() else {
            let why = format!("Invalid header. Reason: Invalid value. Key:{name}; Value:{value}");
            return Answer::text(400, why);
        };
        match self.tokens().make(seconds, now) {
            Ok(token) => Answer { headers: format!("{name}: {seconds}\r\n"), ..Answer::text(200, token) },
            Err(NoToken::Lifetime(seconds)) => Answer::text(
                400,
                format!(
                    "Invalid time to live value provided for token: {seconds}. Please provide a value between {} and {}.",
                    LIFETIMES.start(),
                    LIFETIMES.end()
                ),
            ),
            Err(NoToken::Random(error)) => Answer::text(400, format!("Failed to encrypt token. ({error})")),
        }
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request<'_> {
    /// The first header of one of these names, as the guest wrote it.
    fn header(&self, names: &[&str]) -> Option<(&str, &str)> {
        let is_it = |name: &str| names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted));
        self.headers.iter().find(|(name, _)| is_it(name)).copied()
    }
}

fn not_found(path: &str) -> Answer {
    Answer::text(404, format!("Resource not found: {path}."))
}

/// Several slashes in a row count as one.
fn one_slash(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

/// The version and the request.
fn parse(bytes: &[u8]) -> Result<(&'static str, Request<'_>), Answer> {
    let invalid = || Answer::text(400, "Invalid request.");
    let text = std::str::from_utf8(bytes).map_err(|_| invalid())?;
    let head = text.strip_suffix("\r\n\r\n").ok_or_else(invalid)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
    let (Some(method), Some(uri), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(invalid());
    };
    if !["GET", "PUT", "PATCH", "DELETE"].contains(&method) {
        return Err(Answer::text(501, "Unsupported HTTP method."));
    }
    if uri.is_empty() {
        return Err(Answer::text(400, "Empty URI not allowed."));
    }
    let version = match version {
        "HTTP/1.0" => "HTTP/1.0",
        "HTTP/1.1" => "HTTP/1.1",
        _ => return Err(Answer::text(501, "Unsupported HTTP version.")),
    };
    let mut request = Request { method, path: absolute(uri), headers: Vec::new(), accept: Format::Imds };
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return Err(Answer::text(400, format!("Header is incorrectly formatted. Key: {line}")));
        };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("accept") {
            match value {
                "application/json" => request.accept = Format::Json,
                "text/plain" => request.accept = Format::Imds,
                // Any other has no effect.
                _ => {}
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            match value.parse::<u32>() {
                Ok(0) => {}
                Ok(_) => return Err(invalid()),
                Err(_) => {
                    return Err(Answer::text(400, format!("Invalid value. Key:{name}; Value: {value}")));
                }
            }
        } else {
            request.headers.push((name, value));
        }
    }
    Ok((version, request))
}

/// The path of a URI; an empty one when it has none.
fn absolute(uri: &str) -> &str {
    match uri.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("", |at| &rest[at..]),
        None if uri.starts_with('/') => uri,
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn service(version: MmdsVersion, imds_compat: bool) -> Service {
        let store = Shared::default();
        let tree = json!({"latest": {"meta-data": {"id": "i-1", "n": 5, "net": {"mac": "06:00"}}}});
        store.lock().put(tree, 1000).unwrap();
        let config = Mmds { version, network_interfaces: Vec::new(), ipv4_address: None, imds_compat };
        Service::new(&config, store)
    }

    /// Asks; gives the status, the headers and the body.
    fn ask(service: &Service, request: &str, headers: &[&str], now: Instant) -> (u16, String, String) {
        let first = format!("{request} HTTP/1.1");
        let request = [&[first.as_str(), "Host: 169.254.169.254"], headers, &["", ""]].concat().join("\r\n");
        assert_eq!(end(request.as_bytes()), Some(request.len()));
        let answer = String::from_utf8(service.answer(request.as_bytes(), now)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
        (status, head.to_owned(), body.to_owned())
    }

    #[test]
    fn with_version_2_nothing_is_read_without_a_token_that_lives() {
        let service = service(MmdsVersion::V2, false);
        let now = Instant::now();
        let it = "GET /latest/meta-data/id";
        let (status, _, body) = ask(&service, it, &[], now);
        assert!(status == 401 && body.starts_with("No MMDS token provided."), "{status} {body}");
        for name in LIFETIME {
            let (status, head, token) =
                ask(&service, "PUT //latest/api//token", &[&format!("{name}: 60")], now);
            assert!(status == 200 && head.contains(&format!("{name}: 60")), "{head}");
            for name in ["X-Metadata-Token", "X-aws-ec2-metadata-token"] {
                let header = format!("{name}: {token}");
                assert_eq!(ask(&service, it, &[&header], now).2, "i-1");
                let late = now + Duration::from_secs(60);
                let (status, _, body) = ask(&service, it, &[&header], late);
                assert_eq!((status, body.as_str()), (401, "MMDS token not valid."));
            }
        }
        assert_eq!(ask(&service, it, &["X-metadata-token: other"], now).0, 401);
    }

    #[test]
    fn a_token_is_made_by_the_rules_in_both_versions() {
        for version in [MmdsVersion::V1, MmdsVersion::V2] {
            let service = service(version, false);
            let put = |path: &str, headers: &[&str]| {
                let (status, _, body) = ask(&service, &format!("PUT {path}"), headers, Instant::now());
                (status, body)
            };
            for good in ["1", "21600"] {
                assert_eq!(put(TOKEN_PATH, &[&format!("X-metadata-token-ttl-seconds: {good}")]).0, 200);
            }
            for bad in ["0", "21601", "-1", "1h", "99999999999"] {
                let (status, body) = put(TOKEN_PATH, &[&format!("X-metadata-token-ttl-seconds: {bad}")]);
                assert!(status == 400 && body.contains(bad), "{body}");
            }
            let (status, body) = put(TOKEN_PATH, &[]);
            assert!(status == 400 && body.starts_with("Token time to live value not found."), "{body}");
            let (status, body) =
                put(TOKEN_PATH, &["X-metadata-token-ttl-seconds: 60", "X-Forwarded-For: 1.2.3.4"]);
            assert!(status == 400 && body.contains("X-Forwarded-For"), "{body}");
            assert_eq!(put("/latest/meta-data/id", &["X-metadata-token-ttl-seconds: 60"]).0, 404);
        }
    }

    #[test]
    fn version_1_answers_whoever_asks_in_the_format_that_is_asked_for() {
        let service = service(MmdsVersion::V1, false);
        let get = |path: &str, headers: &[&str]| {
            let (status, head, body) = ask(&service, &format!("GET {path}"), headers, Instant::now());
            (status, head.contains("Content-Type: application/json"), body)
        };
        let said = |status, json, body: &str| (status, json, body.to_owned());
        assert_eq!(get("/latest/meta-data/id", &[]), said(200, false, "i-1"));
        assert_eq!(get("/latest/meta-data/id", &["X-metadata-token: none"]), said(200, false, "i-1"));
        assert_eq!(get("http://169.254.169.254//latest", &["Accept: */*"]), said(200, false, "meta-data/"));
        assert_eq!(get("/latest/meta-data/", &["Accept:"]), said(200, false, "id\nn\nnet/"));
        let json = ["Accept: application/json"];
        assert_eq!(get("/latest/meta-data/id", &json), said(200, true, "\"i-1\""));
        assert_eq!(get("/latest/meta-data/n", &json), said(200, true, "5"));
        assert_eq!(get("/latest/meta-data/n", &[]).0, 501);
        assert_eq!(get("/nothing", &[]), said(404, false, "Resource not found: /nothing."));
    }

    #[test]
    fn compatible_with_ec2_it_says_texts_only() {
        let service = service(MmdsVersion::V1, true);
        let asked = ["Accept: application/json"];
        assert_eq!(ask(&service, "GET /latest/meta-data/id", &asked, Instant::now()).2, "i-1");
    }

    #[test]
    fn what_is_no_request_for_it_is_refused() {
        let service = service(MmdsVersion::V1, false);
        let now = Instant::now();
        for method in ["PATCH", "DELETE"] {
            let (status, head, _) = ask(&service, &format!("{method} /latest"), &[], now);
            assert!(status == 405 && head.contains("Allow: GET, PUT"), "{head}");
        }
        assert_eq!(ask(&service, "POST /latest", &[], now).0, 501);
        assert_eq!(ask(&service, "GET latest", &[], now).0, 400);
        assert_eq!(ask(&service, "GET http://169.254.169.254", &[], now).0, 400);
        assert_eq!(ask(&service, "GET /latest", &["no colon"], now).0, 400);
        assert_eq!(ask(&service, "GET /latest", &["Content-Length: 1"], now).0, 400);
        for garbage in ["GET /latest HTTP/1.1\n\n", "GET\r\n\r\n", "\r\n\r\n", "GET / HTTP/2\r\n\r\n"] {
            let answer = String::from_utf8(service.answer(garbage.as_bytes(), now)).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 501"), "{answer}");
        }
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
    }
}
