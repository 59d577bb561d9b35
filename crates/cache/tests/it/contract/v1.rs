//! The first version of the service, as Gitea's and Forgejo's runners have it.

use reqwest::Method;
use serde_json::json;

use super::super::ON;
use crate::common::*;

#[tokio::test]
async fn what_is_saved_is_found() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    let find = async |keys: &str| {
        let query = [("keys", keys), ("version", VERSION)];
        sent(job.v1(Method::GET, "cache").query(&query)).await
    };
    assert_eq!(find("deps-1,deps-").await.status, 204);
    let id = job.reserve("deps-1").await;
    // In any order, and some of it twice.
    assert_eq!(job.patch(id, "bytes 4-9/*", b"456789").await.status, 204);
    job.commit(id, 10).await.refuses(400, "not whole");
    assert_eq!(job.patch(id, "bytes 0-4/*", b"01234").await.status, 204);
    assert_eq!(job.patch(id, "bytes 0-4/10", b"01234").await.status, 204);
    job.commit(id, 9).await.refuses(400, "9 bytes were announced");
    job.commit(id, 11).await.refuses(400, "11 bytes were announced");
    assert_eq!(job.commit(id, 10).await.status, 204);
    // Its answer was lost. Others are not told that there is such an entry.
    assert_eq!(job.commit(id, 10).await.status, 204);
    job.commit(id, 9).await.refuses(404, "no open upload");
    world.main_job(2, "o/other").commit(id, 10).await.refuses(404, "no open upload");
    job.patch(id, "bytes 0-4/*", b"XXXXX").await.refuses(404, "no open upload");
    let found = find("none, deps-").await.json();
    assert_eq!(found["cacheKey"], "deps-1");
    assert_eq!(found["scope"], MAIN);
    let content = job.get(found["archiveLocation"].as_str().unwrap()).await;
    assert_eq!(content.text(), "0123456789");
    let reserved =
        sent(job.v1(Method::POST, "caches").json(&json!({"key": "deps-1", "version": VERSION}))).await;
    reserved.refuses(409, "already exists");

    // Both versions find the same.
    assert_eq!(job.restore("deps-1").await.unwrap(), b"0123456789");
    job.save("second", b"v2").await;
    assert_eq!(find("second").await.json()["cacheKey"], "second");
    let list = sent(job.v1(Method::GET, "caches").query(&[("key", "dep")])).await.json();
    assert_eq!(list["totalCount"], 1);
    assert_eq!(list["artifactCaches"][0]["cacheKey"], "deps-1");
}

#[tokio::test]
async fn the_token_is_in_the_path_or_the_header() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    job.save("k", b"content").await;
    let resource = format!("_apis/artifactcache/cache?keys=k&version={VERSION}");
    assert_eq!(world.cache.url(&job.machine).expose(), format!("{}/{}/", world.base, job.token));
    // Runners send a token of their forge along, which means nothing here.
    let path = job.at(Method::GET, &format!("/{}/{resource}", job.token)).bearer_auth("of the forge");
    assert_eq!(sent(path).await.status, 200);
    let header = job.at(Method::GET, &format!("/{resource}")).bearer_auth(&job.token);
    assert_eq!(sent(header).await.status, 200);
    let wrong = job.at(Method::GET, &format!("/of-the-forge/{resource}")).bearer_auth(&job.token);
    sent(wrong).await.refuses(401, "none of this host's");
    sent(job.at(Method::GET, &format!("/{resource}"))).await.refuses(401, "shows no token");
}
