//! Who sees what. Whatever a guest says, its repository and ref are what the forge said.

use std::net::IpAddr;
use std::time::Duration;

use fireactions_cache::{Grant, Repository};
use reqwest::Method;
use serde_json::json;

use super::super::ON;
use crate::common::*;

#[tokio::test]
async fn branches_read_their_own_and_the_default_one_and_pull_requests_save_for_themselves() {
    let Some(world) = World::new(ON).await else { return };
    let jobs = [
        ("main", world.job(1, branch("o/r", MAIN))),
        ("topic", world.job(2, branch("o/r", "refs/heads/topic"))),
        ("other", world.job(3, branch("o/r", "refs/heads/other"))),
        ("pull-1", world.job(4, pull("o/r", 1))),
        ("pull-2", world.job(5, pull("o/r", 2))),
        ("pull-11", world.job(6, pull("o/r", 11))),
    ];
    for (name, job) in &jobs {
        job.save(&format!("key-{name}"), name.as_bytes()).await;
        // All of them may have the same key, each its own.
        job.save("same", name.as_bytes()).await;
    }
    for (name, job) in &jobs {
        assert_eq!(job.restore("same").await.unwrap(), name.as_bytes(), "{name} sees its own first");
        for (whose, _) in &jobs {
            let key = format!("key-{whose}");
            let sees = job.find(&[&key]).await.is_some_and(|(matched, _)| matched == key);
            assert_eq!(sees, whose == name || *whose == "main", "{name} looks for a cache of {whose}");
        }
    }
    let reader = world.job(7, read_only("o/r"));
    assert_eq!(reader.restore("same").await.unwrap(), b"main");
    let asked = json!({"key": "new", "version": VERSION});
    let said = reader.twirp("CreateCacheEntry", &asked).await;
    assert_eq!(said.status, 200);
    assert_eq!(said.json()["ok"], false);
    assert!(said.json()["message"].as_str().unwrap().starts_with("cache write denied:"));
    sent(reader.v1(Method::POST, "caches").json(&asked)).await.refuses(403, "cache write denied:");
}

#[tokio::test]
async fn no_repository_sees_another_ones_whatever_they_are_called() {
    let Some(world) = World::new(ON).await else { return };
    let victim = world.main_job(1, "o/r");
    victim.save("key", b"secret").await;
    let names = [
        "o/r2", "o/R", "O/r", "o", "o/", "o/r/", "/o/r", "o/r\0", "o/r%00", "o%2fr", "o%2Fr", "o\\r", "o//r",
        "./o/r", "o/../o/r", "o/r.git", "ο/r", "", "*", "o/r\n", " o/r", "o/r ", "o/r?x", "o/r#x",
    ];
    for (number, name) in (2..).zip(names) {
        let job = world.main_job(number, name);
        for key in ["key", "k", "../o/r/key", "key\u{200b}"] {
            assert_eq!(job.find(&[key]).await, None, "{name:?} looks for {key:?}");
        }
        job.save("key", name.as_bytes()).await;
        assert_eq!(job.restore("key").await.unwrap(), name.as_bytes());
    }
    assert_eq!(victim.restore("key").await.unwrap(), b"secret");
    assert_eq!(world.restart().await.main_job(1, "o/r").restore("key").await.unwrap(), b"secret");
}

#[tokio::test]
async fn what_a_guest_says_about_itself_does_not_matter() {
    let Some(world) = World::new(ON).await else { return };
    world.main_job(1, "o/r").save("key", b"secret").await;
    let thief = world.main_job(2, "o/thief");
    let asked = json!({
        "metadata": {"repository_id": "1", "scope": [{"scope": "o/r", "permission": "3"}]},
        "repository": "o/r", "scope": MAIN, "key": "key", "version": VERSION,
    });
    assert_eq!(thief.twirp("GetCacheEntryDownloadURL", &asked).await.json(), json!({"ok": false}));
    let v1 = thief.v1(Method::GET, "cache").query(&[("keys", "key"), ("version", VERSION), ("scope", "o/r")]);
    assert_eq!(sent(v1.header("Forgejo-Cache-Repo", "o/r")).await.status, 204);
    let list = sent(thief.v1(Method::GET, "caches").query(&[("key", "")])).await.json();
    assert_eq!(list["totalCount"], 0);
}

#[tokio::test]
async fn tokens_and_addresses_end_with_their_job() {
    let Some(world) = World::new(ON).await else { return };
    let job = world.main_job(1, "o/r");
    let other = world.main_job(2, "o/r");
    job.save("k", b"content").await;
    let (_, down) = job.find(&["k"]).await.unwrap();
    let up = job.create("open").await;
    world.cache.end(&job.machine);
    job.twirp("GetCacheEntryDownloadURL", &json!({"key": "k", "version": VERSION}))
        .await
        .refuses(401, "its job has ended");
    sent(job.v1(Method::GET, "cache?keys=k&version=v")).await.refuses(401, "its job has ended");
    job.get(&down).await.refuses(401, "its job has ended");
    job.put(&up, "", b"x").await.refuses(401, "its job has ended");
    assert_eq!(other.restore("k").await.unwrap(), b"content");
    // Ending a job again, or one that never was, changes nothing.
    world.cache.end(&job.machine);
    world.cache.end(&machine(99));
    assert_eq!(world.cache.stats().jobs, 1);
}

#[tokio::test]
async fn addresses_expire() {
    let Some(world) = World::with(ON, |limits| limits.address = Duration::from_secs(600)).await else {
        return;
    };
    let job = world.main_job(1, "o/r");
    job.save("k", b"content").await;
    let (_, down) = job.find(&["k"]).await.unwrap();
    let up = job.create("open").await;
    world.clock.pass(Duration::from_secs(590));
    assert_eq!(job.get(&down).await.status, 200);
    // The time of day has no part in it.
    world.clock.step(86_400 * 400);
    assert_eq!(job.get(&down).await.status, 200);
    world.clock.step(-86_400 * 800);
    world.clock.pass(Duration::from_secs(11));
    job.get(&down).await.refuses(401, "has expired");
    job.put(&up, "", b"x").await.refuses(401, "has expired");
    assert_eq!(job.restore("k").await.unwrap(), b"content");
}

#[tokio::test]
async fn nothing_of_a_token_or_an_address_can_be_changed() {
    let Some(world) = World::new(ON).await else { return };
    let [job, other] =
        [(1, "o/r"), (2, "o/thief")].map(|(number, repository)| world.main_job(number, repository));
    job.save("k", b"content").await;
    other.save("k", b"mine").await;
    let asked = json!({"key": "k", "version": VERSION});
    let (owner, mac) = job.token.split_once('.').unwrap();
    let (_, other_mac) = other.token.split_once('.').unwrap();
    for token in [
        String::new(),
        ".".to_owned(),
        owner.to_owned(),
        format!("{owner}."),
        format!("{owner}.{other_mac}"),
        format!("{owner}.{}", &mac[..63]),
        format!("{owner}.{mac}0"),
        format!("{owner}.{}", mac.to_uppercase()),
        "é".to_owned(),
    ] {
        let job = Job { token: token.clone(), ..job.clone() };
        let said = job.twirp("GetCacheEntryDownloadURL", &asked).await;
        assert_eq!(said.status, 401, "{token:?}: {}", said.text());
    }
    let (_, down) = job.find(&["k"]).await.unwrap();
    let (_, other_down) = other.find(&["k"]).await.unwrap();
    let up = job.create("open").await;
    let id = |address: &str| address.split(['/', '?']).nth(6).unwrap().to_owned();
    for (address, method) in [
        (down.replace("/down/", "/up/"), Method::PUT),
        (up.replace("/up/", "/down/"), Method::GET),
        (other_down.replace(&id(&other_down), &id(&down)), Method::GET),
        (other_down.replace(other.machine.as_str(), job.machine.as_str()), Method::GET),
        (down.replace("until=", "until=9"), Method::GET),
        (down.replace("signature=", "signature=0"), Method::GET),
        (down.split_once('?').unwrap().0.to_owned(), Method::GET),
        (format!("{}&signature=0", down.replace("&signature", "&signatures")), Method::GET),
    ] {
        let said = sent(job.at(method, &address)).await;
        said.refuses(401, "none of this host's, or has expired");
    }
    // Uploads are their job's alone, even within a repository.
    let sibling = world.main_job(3, "o/r");
    let reserved = job.reserve("v1").await;
    sibling.patch(reserved, "bytes 0-0/*", b"x").await.refuses(404, "no open upload");
    sibling.commit(reserved, 0).await.refuses(404, "no open upload");
    sibling.finalize("open", 0).await.refuses(404, "no open upload");
}

#[tokio::test]
async fn a_token_is_good_from_its_machine_alone() {
    let Some(world) = World::new(ON).await else { return };
    let at = |number: u64, address: &str| {
        let grant = Grant::branch(Repository("o/r".to_owned()), MAIN, MAIN);
        world.job(number, grant.from(address.parse::<IpAddr>().unwrap()))
    };
    let (here, elsewhere) = (at(1, "127.0.0.1"), at(2, "10.0.0.2"));
    here.save("k", b"content").await;
    assert_eq!(here.restore("k").await.unwrap(), b"content");
    elsewhere
        .twirp("GetCacheEntryDownloadURL", &json!({"key": "k", "version": VERSION}))
        .await
        .refuses(401, "belongs to another machine");
}

#[tokio::test]
async fn a_secret_that_others_could_read_is_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(world) = World::new(ON).await else { return };
    let old = world.main_job(1, "o/r");
    old.save("k", b"content").await;
    let secret = world.root().join("secret");
    assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.root().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let world = world.restart().await;
    let new = world.main_job(1, "o/r");
    assert_ne!(old.token, new.token);
    assert_eq!(new.restore("k").await.unwrap(), b"content");
    // So is one that is cut off.
    std::fs::write(&secret, b"short").unwrap();
    let world = world.restart().await;
    assert_ne!(world.main_job(1, "o/r").token, new.token);
    assert!(
        !format!("{:?}", world.cache)
            .contains(&format!("{:?}", std::fs::read(&secret).unwrap()[0..8].to_vec()))
    );
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn until_it_is_known_whose_a_job_is_it_has_what_it_saves_itself() {
    let Some(world) = World::with(ON, |limits| limits.patience = Duration::ZERO).await else { return };
    let known = world.main_job(1, "o/r");
    known.save("key", b"of the branch").await;
    let job = world.expected(2, HERE);
    assert!(world.cache.is_open(&job.machine) && !world.cache.is_open(&known.machine));
    assert_eq!(job.find(&["key"]).await, None);
    job.save("key", b"its own").await;
    job.save("other", b"its own").await;
    assert_eq!(job.restore("key").await.unwrap(), b"its own");
    for other in [world.expected(3, HERE), world.main_job(4, ""), world.main_job(5, job.machine.as_str())] {
        assert_eq!(other.find(&["other"]).await, None, "nobody else finds it");
    }
    // Its forge has told; asking to be let in again takes nothing of that away.
    world.cache.confirm(&job.machine, branch("o/r", MAIN).from(HERE));
    world.cache.expect(&job.machine, HERE);
    assert!(!world.cache.is_open(&job.machine));
    assert_eq!(job.restore("key").await.unwrap(), b"of the branch");
    // What it saved alone goes with it.
    world.cache.end(&job.machine);
    let left: Vec<_> = world.cache.entries().into_iter().map(|entry| entry.place.scope.0).collect();
    assert_eq!(left, [MAIN]);
    // Its forge's word may come late.
    world.cache.confirm(&job.machine, branch("o/r", MAIN).from(HERE));
    job.twirp("GetCacheEntryDownloadURL", &json!({"key": "key", "version": VERSION}))
        .await
        .refuses(401, "its job has ended");
}

#[tokio::test]
async fn what_a_job_saved_alone_does_not_outlive_the_server() {
    let Some(world) = World::with(ON, |limits| limits.patience = Duration::ZERO).await else { return };
    world.expected(1, HERE).save("key", b"its own").await;
    world.main_job(2, "o/r").save("key", b"of the branch").await;
    let world = world.restart().await;
    assert_eq!(world.cache.stats().entries, 1);
    let job = world.expected(1, HERE);
    assert_eq!(job.find(&["key"]).await, None);
}

#[tokio::test]
async fn the_first_requests_of_a_job_wait_for_the_word_on_whose_it_is() {
    let Some(world) = World::with(ON, |limits| limits.patience = Duration::from_secs(600)).await else {
        return;
    };
    world.main_job(1, "o/r").save("key", b"of the branch").await;
    let job = world.expected(2, HERE);
    let asking = tokio::spawn({
        let job = job.clone();
        async move { job.restore("key").await }
    });
    // From elsewhere, nobody waits for anything.
    let stranger = world.expected(3, "10.0.0.2".parse().unwrap());
    stranger
        .twirp("GetCacheEntryDownloadURL", &json!({"key": "key", "version": VERSION}))
        .await
        .refuses(401, "belongs to another machine");
    world.cache.admit(&job.machine, branch("o/r", MAIN).from(HERE));
    assert_eq!(asking.await.unwrap().unwrap(), b"of the branch");
    // A job that ends meanwhile is told so.
    let job = world.expected(4, HERE);
    let asking = tokio::spawn({
        let job = job.clone();
        async move { job.twirp("GetCacheEntryDownloadURL", &json!({"key": "key", "version": VERSION})).await }
    });
    while !asking.is_finished() {
        world.cache.end(&job.machine);
        tokio::task::yield_now().await;
    }
    asking.await.unwrap().refuses(401, "its job has ended");
}

#[tokio::test]
async fn a_job_that_is_neither_a_branchs_nor_a_pull_requests_finds_the_default_branch_and_saves_alone() {
    let Some(world) = World::new(ON).await else { return };
    world.main_job(1, "o/r").save("key", b"of the branch").await;
    let job = world.job(2, Grant::reader(Repository("o/r".to_owned()), &machine(2), MAIN));
    assert_eq!(job.restore("key").await.unwrap(), b"of the branch");
    job.save("new", b"its own").await;
    assert_eq!(job.restore("new").await.unwrap(), b"its own");
    assert_eq!(world.main_job(3, "o/r").find(&["new"]).await, None);
}
