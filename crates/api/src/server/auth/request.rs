//! What a request's head says about where it comes from: a browser's page, a proxy, and whom that speaks for.

use std::net::IpAddr;

use axum::http::header::{COOKIE, HOST, ORIGIN, UPGRADE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri};
use fireactions_model::network_rules;

use super::caller::{Peer, Source};
use super::rights::reads;

/// What the name of a login's cookie begins with; what is behind it is the server's own. Cookies of one host name are the same for
/// all its ports, and people have several servers open: one service beside another, two tunnels to the own computer.
pub(super) const COOKIE_PREFIX: &str = "fireactions_session_";

/// Headers that a proxy adds to what it passes on.
const OF_PROXIES: [&str; 7] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
];
/// Headers that a browser adds.
const OF_BROWSERS: [&str; 3] = ["origin", "sec-fetch-mode", "sec-fetch-site"];

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The header by which a request is seen to have been passed on.
pub(super) fn passed_on(headers: &HeaderMap) -> Option<&'static str> {
    OF_PROXIES.into_iter().find(|name| headers.contains_key(*name))
}

/// Whether somebody else than a program of this host may have asked at a Unix socket: a browser cannot open one, so a proxy did it
/// for one. Not every proxy says so, but it passes on the name that the browser has asked for.
pub(super) fn is_from_afar(headers: &HeaderMap, uri: &Uri) -> bool {
    let asked = host(headers, uri).unwrap_or_default();
    passed_on(headers).is_some()
        || OF_BROWSERS.iter().any(|name| headers.contains_key(*name))
        || cookies(headers).any(|(name, _)| name.starts_with(COOKIE_PREFIX))
        || (asked.contains(['.', ':']) && !is_loopback_name(asked))
}

/// A cookie.
pub(super) fn cookie_named<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    cookies(headers).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// Whether a page of another place could make a browser ask this with the cookie: what changes something, and WebSockets.
pub(super) fn needs_origin(method: &Method, headers: &HeaderMap) -> bool {
    !reads(method) || headers.contains_key(UPGRADE)
}

/// Whether a page of this server asks, by what its browser says. `None` if that says nothing.
pub(super) fn is_own_page(headers: &HeaderMap, uri: &Uri) -> Option<bool> {
    let origin = headers.get(ORIGIN)?;
    let own = || {
        let (scheme, origin) = origin.to_str().ok()?.split_once("://")?;
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let place = |authority: &str| {
            let authority: Authority = authority.trim().parse().ok()?;
            let port = authority.port_u16().unwrap_or(default);
            Some((authority.host().to_ascii_lowercase(), port))
        };
        let asked = match text(headers, "x-forwarded-host") {
            // A page cannot set it without asking first, which is refused.
            Some(hosts) => hosts.split(',').next(),
            None => host(headers, uri),
        };
        Some(place(origin)? == place(asked?)?)
    };
    Some(own().unwrap_or(false))
}

/// The host that is asked.
pub(super) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    headers.get(HOST).and_then(|value| value.to_str().ok()).or_else(|| uri.host())
}

/// Whether the browser speaks TLS to the proxy in front.
pub(super) fn is_by_tls(headers: &HeaderMap) -> bool {
    text(headers, "x-forwarded-proto").is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
}

/// Where it comes from. Only a proxy of this host is believed whom it speaks for: others would name somebody else for each guess.
pub(super) fn source(peer: Option<Peer>, headers: &HeaderMap) -> Source {
    let believed = match peer {
        Some(Peer::Local { .. }) => true,
        Some(Peer::Remote(address)) => network_rules::is_loopback(address.ip()),
        None => false,
    };
    // The last is what the proxy itself has seen.
    let last = |all: &str| all.rsplit(',').next()?.trim().parse::<IpAddr>().ok();
    let behind = text(headers, "x-forwarded-for").filter(|_| believed).and_then(last);
    Source { peer, behind }
}

pub(super) fn is_loopback_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(network_rules::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names() {
        for good in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:8080", "127.9.9.9"] {
            assert!(is_loopback_name(good), "{good}");
        }
        for bad in
            ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example:80", "", "a b"]
        {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (axum::http::HeaderName::from_static(name), axum::http::HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn what_a_proxy_passes_on_is_no_local_program() {
        let uri = Uri::from_static("/api/v1/jobs");
        let afar = |pairs: &[(&'static str, &'static str)]| is_from_afar(&headers(pairs), &uri);
        for local in ["localhost", "fireactions", "127.0.0.1:8080", ""] {
            assert!(!afar(&[("host", local), ("user-agent", "curl")]), "{local}");
        }
        for other in ["ci.example", "ci:8080", "10.0.0.1", "[2001:db8::1]:80"] {
            assert!(afar(&[("host", other)]), "{other}");
        }
        for name in OF_PROXIES.into_iter().chain(OF_BROWSERS) {
            assert!(afar(&[("host", "localhost"), (name, "x")]), "{name}");
        }
    }

    #[test]
    fn own_pages_are_told_by_host_and_port() {
        let uri = Uri::from_static("/api/v1/session");
        let own = |pairs: &[(&'static str, &'static str)]| is_own_page(&headers(pairs), &uri);
        assert_eq!(own(&[("host", "ci.example")]), None);
        for good in [
            [("origin", "https://ci.example"), ("host", "ci.example")],
            [("origin", "https://CI.example"), ("host", "ci.example:443")],
            [("origin", "http://ci.example:8080"), ("host", "ci.example:8080")],
            [("origin", "http://[::1]:8080"), ("host", "[::1]:8080")],
        ] {
            assert_eq!(own(&good), Some(true), "{good:?}");
        }
        for bad in [
            [("origin", "https://evil.example"), ("host", "ci.example")],
            [("origin", "http://ci.example"), ("host", "ci.example:8080")],
            [("origin", "https://ci.example.evil.example"), ("host", "ci.example")],
            [("origin", "null"), ("host", "null")],
            [("origin", ""), ("host", "")],
            [("origin", "file://ci.example"), ("host", "ci.example")],
            [("origin", "https://ci.example"), ("x-none", "")],
        ] {
            assert_eq!(own(&bad), Some(false), "{bad:?}");
        }
        let behind =
            [("origin", "https://ci.example"), ("host", "127.0.0.1"), ("x-forwarded-host", "ci.example, x")];
        assert_eq!(own(&behind), Some(true));
    }

    #[test]
    fn only_a_proxy_of_this_host_is_believed() {
        let forged = headers(&[("x-forwarded-for", "10.1.1.1, 203.0.113.9")]);
        let from = |peer| source(Some(peer), &forged).to_string();
        assert_eq!(from(Peer::Local { uid: Some(33) }), "203.0.113.9 by uid 33");
        assert_eq!(from(Peer::Remote("127.0.0.1:5".parse().unwrap())), "203.0.113.9 by 127.0.0.1:5");
        assert_eq!(from(Peer::Remote("198.51.100.1:5".parse().unwrap())), "198.51.100.1:5");
        let nonsense = headers(&[("x-forwarded-for", "unknown")]);
        assert_eq!(source(Some(Peer::Local { uid: None }), &nonsense).to_string(), "this host");
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |text| {
            cookie_named(&headers(&[("cookie", text)]), "fireactions_session_1").map(ToOwned::to_owned)
        };
        assert_eq!(found("a=b; fireactions_session_1=xyz; c"), Some("xyz".to_owned()));
        assert_eq!(found("xfireactions_session_1=xyz; fireactions_session_2=abc"), None);
    }
}
