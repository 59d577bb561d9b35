//! The page, as the API's addresses serve it.

#![allow(clippy::unwrap_used)]

use std::io::Read as _;

use fireactions_api::Limits;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderMap, IF_NONE_MATCH};
use reqwest::{Client, Method, Request, StatusCode};

use crate::common::{TOKEN, raw, serve, serve_tcp};

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("no {name}: {headers:?}")).to_str().unwrap()
}

#[tokio::test]
async fn the_page_needs_no_token_and_lets_nothing_of_others_in() {
    let (_api, url) = serve_tcp(Some(TOKEN)).await;
    let page = reqwest::get(format!("{url}/")).await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = header(page.headers(), "content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "connect-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(header(page.headers(), "x-content-type-options"), "nosniff");
    assert_eq!(header(page.headers(), "referrer-policy"), "no-referrer");

    // What is beside it is guarded as before, and told to nobody.
    for path in ["/api/v1/jobs", "/openapi.json", "/nowhere", "/metrics"] {
        let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let absent = reqwest::get(format!("{url}/assets/main-OLD.js")).await.unwrap();
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(absent.headers(), "cache-control"), "no-store");
}

#[tokio::test]
async fn without_a_bundle_it_says_how_to_make_one_and_with_one_it_is_cached() {
    let (_api, url) = serve_tcp(Some(TOKEN)).await;
    let client = Client::builder().build().unwrap();
    let plain = client.get(format!("{url}/")).send().await.unwrap();
    assert!(plain.headers().get(CONTENT_ENCODING).is_none(), "{:?}", plain.headers());
    let tag = plain.headers().get(ETAG).cloned();
    let kind = header(plain.headers(), "content-type").to_owned();
    let text = plain.text().await.unwrap();
    if !fireactions_page::is_built() {
        assert!(text.contains("scripts/build-page") && kind.starts_with("text/plain"), "{kind}: {text}");
        return;
    }
    assert_eq!(kind, "text/html; charset=utf-8");
    assert!(text.contains("<title>fireactions</title>"), "{text}");
    // Nothing in it names an address of its own: a proxy may serve it below any path.
    assert!(!text.contains("=\"/") && !text.contains("http"), "{text}");
    let again = client.get(format!("{url}/")).header(IF_NONE_MATCH, tag.unwrap()).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);

    let script = text.split_once("src=\"").unwrap().1.split_once('"').unwrap().0;
    let script =
        client.get(format!("{url}/{script}")).header(ACCEPT_ENCODING, "br, gzip").send().await.unwrap();
    assert_eq!(header(script.headers(), "content-encoding"), "gzip");
    assert_eq!(header(script.headers(), "content-type"), "text/javascript; charset=utf-8");
    assert!(header(script.headers(), "cache-control").contains("immutable"));
    let packed = script.bytes().await.unwrap();
    let mut code = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut code).unwrap();
    assert!(code.len() > packed.len());
}

#[tokio::test]
async fn the_unix_socket_has_it_too() {
    let server = serve(Limits::default()).await;
    let (status, _) =
        raw(&server.socket, Request::new(Method::GET, "http://localhost/".parse().unwrap())).await;
    assert_eq!(status, 200);
}
