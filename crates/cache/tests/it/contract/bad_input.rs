//! What makes no sense is refused in words, and leaves nothing.

use reqwest::{Method, header};
use serde_json::json;

use super::super::ON;
use crate::common::*;

#[tokio::test]
async fn keys_and_versions_have_limits() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    let long = "k".repeat(65_536);
    let ask = async |method: &str, key: &str, version: &str| {
        job.twirp(method, &json!({"key": key, "version": version})).await
    };
    for method in ["CreateCacheEntry", "FinalizeCacheEntryUpload", "GetCacheEntryDownloadURL"] {
        ask(method, &long, VERSION)
            .await
            .refuses(400, "a cache key has 65536 characters, and the limit is 512");
        ask(method, &"é".repeat(513), VERSION).await.refuses(400, "has 513 characters");
        ask(method, "", VERSION).await.refuses(400, "a cache key is empty");
        ask(method, "a,b", VERSION).await.refuses(400, "comma");
        ask(method, "a\nb", VERSION).await.refuses(400, "control character");
        ask(method, "k", "").await.refuses(400, "version is 1 to 256");
        ask(method, "k", &long).await.refuses(400, "version is 1 to 256");
        ask(method, "k", "é").await.refuses(400, "visible ASCII");
    }
    job.save(&"é".repeat(512), b"as long as it may be").await;
    assert!(job.restore(&"é".repeat(512)).await.is_some());
    let keys = |number: usize| json!({"key": "k", "restore_keys": vec!["r"; number], "version": VERSION});
    job.twirp("GetCacheEntryDownloadURL", &keys(10)).await.json()["ok"].as_bool().unwrap();
    job.twirp("GetCacheEntryDownloadURL", &keys(11)).await.refuses(400, "at most 10 keys");
    sent(job.v1(Method::POST, "caches").json(&json!({"key": long, "version": VERSION})))
        .await
        .refuses(400, "limit is 512");
    let many = ["k"; 12].join(",");
    sent(job.v1(Method::GET, "cache").query(&[("keys", many.as_str()), ("version", VERSION)]))
        .await
        .refuses(400, "1 to 11 keys");
    sent(job.v1(Method::GET, "cache").query(&[("version", VERSION)])).await.refuses(400, "1 to 11 keys");
}

#[tokio::test]
async fn requests_that_are_none_are_told_so() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    let path = "/twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry";
    let post = |content: &str, body: &str| {
        let request = job.at(Method::POST, path).bearer_auth(&job.token);
        sent(request.header(header::CONTENT_TYPE, content).body(body.to_owned()))
    };
    for wrong in ["", "{", "[]", "null", "{\"key\": 5}", "{\"key\": \"k\", \"size_bytes\": -1}", "\u{0}"] {
        post("application/json", wrong).await.refuses(400, "invalid_argument");
    }
    post("application/json", &" ".repeat(300_000)).await.refuses(400, "larger than 262144 bytes");
    post("application/protobuf", "").await.refuses(404, "bad_route");
    job.twirp("DeleteEverything", &json!({})).await.refuses(404, "bad_route");
    // Both spellings of fields, and numbers in quotes or not.
    let address = job.create("k").await;
    job.put(&address, "", b"xyz").await;
    let asked = json!({"key": "k", "version": VERSION, "sizeBytes": 3, "metadata": null, "unknown": [1]});
    assert_eq!(job.twirp("FinalizeCacheEntryUpload", &asked).await.json()["ok"], true);
    let asked = json!({"key": "x", "restoreKeys": ["k"], "version": VERSION});
    assert_eq!(job.twirp("GetCacheEntryDownloadURL", &asked).await.json()["matched_key"], "k");
    assert_eq!(sent(job.at(Method::GET, "/nothing")).await.status, 404);
}

#[tokio::test]
async fn blocks_and_ranges_that_are_none_are_refused() {
    let Some(world) = World::with(ON, |limits| limits.entry = 1000).await else { return };
    let job = world.main_job(1, "o/r");
    let address = job.create("k").await;
    job.put(&address, "&comp=blocklist", b"<BlockList><Latest>YQ==</Latest></BlockList>")
        .await
        .refuses(400, "InvalidInput");
    job.put(&address, "&comp=blocklist", b"\xff").await.refuses(400, "UTF-8");
    job.put(&address, "&comp=block", b"x").await.refuses(400, "base64 of 1 to 64 bytes");
    job.put(&address, "&comp=block&blockid=%ff", b"x").await.refuses(400, "base64 of 1 to 64 bytes");
    job.put(&address, "&comp=lease", b"x").await.refuses(400, "InvalidInput");
    job.put(&address, "", &[0; 1001]).await.refuses(413, "larger than the limit of 1000 bytes");
    job.put(&address, "&comp=block&blockid=YQ%3D%3D", &[0; 600]).await;
    job.put(&address, "&comp=block&blockid=Yg%3D%3D", &[0; 600]).await.refuses(413, "RequestBodyTooLarge");
    let twice = b"<BlockList><Latest>YQ==</Latest><Latest>YQ==</Latest></BlockList>";
    job.put(&address, "&comp=blocklist", twice).await.refuses(413, "larger than the limit");
    let chunks = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("x")]));
    sent(job.at(Method::PUT, &address).body(chunks)).await.refuses(411, "Content-Length");
    job.finalize("k", 600).await.refuses(400, "600 bytes were announced, and none were uploaded");

    let id = job.reserve("v1").await;
    for wrong in [
        "",
        "bytes -1-5/*",
        "bytes 5-1/*",
        "bytes 0-5",
        "0-5/*",
        "bytes 0-18446744073709551615/*",
        "bytes */5",
    ] {
        job.patch(id, wrong, b"012345").await.refuses(400, "is no Content-Range such as 'bytes 0-9/*'");
    }
    job.patch(id, "bytes 0-9/*", b"012345").await.refuses(400, "do not agree");
    job.patch(id, "bytes 996-1000/*", b"01234").await.refuses(413, "larger than the limit of 1000 bytes");
    let too_large = json!({"key": "large", "version": VERSION, "cacheSize": 1001});
    sent(job.v1(Method::POST, "caches").json(&too_large))
        .await
        .refuses(413, "larger than the limit of 1000 bytes");
    // One kind of upload is not the other.
    job.patch(id, "bytes 0-4/*", b"01234").await;
    job.finalize("v1", 5).await;
    assert_eq!(world.cache.stats().errors, 0);
}

/// Begins to send a block of a GiB, and sends ten bytes of it.
async fn begun(world: &World, path: &str) -> tokio::net::TcpStream {
    world.begin(&format!("PUT {path}\n"), 1 << 30, b"0123456789").await
}

/// A client gives up a transfer and makes it again, and its old connection is still there.
#[tokio::test]
async fn a_transfer_that_was_given_up_holds_up_nothing() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    for (key, ends) in [("k", false), ("ended", true)] {
        let address = job.create(key).await;
        let path = address.strip_prefix(&world.base).unwrap();
        let old = begun(&world, &format!("{path}&comp=block&blockid=YQ%3D%3D")).await;
        // Once it has its place in the file, what comes after it lies behind.
        let mut other = Vec::new();
        while files(&world.root().join("uploads"))[0].1 < 1 << 30 {
            other.push(0);
            job.put(&address, "&comp=block&blockid=Yg%3D%3D", &other).await;
        }
        assert_eq!(job.put(&address, "&comp=block&blockid=YQ%3D%3D", b"content").await.status, 201);
        job.put(&address, "&comp=blocklist", b"<BlockList><Latest>YQ==</Latest></BlockList>").await;
        if ends {
            world.cache.end(&job.machine);
        } else {
            assert_eq!(job.finalize(key, 7).await.json()["ok"], true);
            assert_eq!(job.restore(key).await.unwrap(), b"content");
        }
        // It is answered once its client has sent all that it will.
        let said = cut(old).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 404"), "{said}");
    }
    assert_eq!(files(&world.root().join("uploads")), []);
}

/// A client announces a GiB, sends ten bytes and goes.
#[tokio::test]
async fn what_was_announced_must_come() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    let address = job.create("k").await;
    let path = address.strip_prefix(&world.base).unwrap();
    for more in ["", "&comp=block&blockid=YQ%3D%3D"] {
        let said = cut(begun(&world, &format!("{path}{more}")).await).await;
        assert!(!said.contains("201"), "{said}");
    }
    job.finalize("k", 1 << 30).await.refuses(400, "and none were uploaded");
    job.finalize("k", 10).await.refuses(400, "and none were uploaded");
    // What the transfers took is free again, and the upload goes on.
    job.put(&address, "", b"whole").await;
    assert_eq!(job.finalize("k", 5).await.json()["ok"], true);
    assert_eq!(job.restore("k").await.unwrap(), b"whole");
    assert!(world.stored_bytes().await < 1000);
}

/// The host's disk fails while blocks are put in order.
#[tokio::test]
async fn what_cannot_be_put_in_order_leaves_nothing() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    let address = job.create("k").await;
    for (id, content) in [("YQ%3D%3D", b"one"), ("Yg%3D%3D", b"two")] {
        job.put(&address, &format!("&comp=block&blockid={id}"), content).await;
    }
    let list = b"<BlockList><Latest>Yg==</Latest><Latest>YQ==</Latest></BlockList>";
    assert_eq!(job.put(&address, "&comp=blocklist", list).await.status, 201);
    let (path, _) = files(&world.root().join("uploads")).pop().unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(4).unwrap();
    job.finalize("k", 6).await.refuses(500, "the host's cache failed");
    assert_eq!(files(&world.root()).len(), 1, "the secret alone");
    job.save("k", b"again").await;
}
