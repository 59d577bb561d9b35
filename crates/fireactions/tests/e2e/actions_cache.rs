//! What jobs do with the host's cache: by hand, with what the smallest image has, in the first version of the protocol. It is
//! used in the worlds of other tests, so that no machine boots for it alone. And where the server has it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use fireactions_testkit::real_s3::{self, RealS3};
use serde_json::Value;

use crate::world::{Setup, World, pool, text};

/// Of a configuration.
pub(crate) const SECTION: &str = "actions_cache: {enabled: true, keep_free_mib: 0}\n";

/// Saves where the job finds its cache, token and all, as the entry `deps`.
pub(crate) const SAVE: &str = r#"
set -e
base=${ACTIONS_CACHE_URL}_apis/artifactcache
id=$(wget -q -O - --header 'content-type: application/json' --post-data '{"key":"deps","version":"v1"}' $base/caches | tr -dc 0-9)
rest=${base#http://} host=${rest%%/*} content=$ACTIONS_CACHE_URL
rm -f /tmp/gate
mkfifo /tmp/gate
{
  printf 'PATCH /%s/caches/%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n' "${rest#*/}" $id $host
  printf 'Content-Range: bytes 0-%s/*\r\nContent-Length: %s\r\n\r\n%s' $((${#content} - 1)) ${#content} $content
  cat /tmp/gate
} | {
  nc ${host%:*} ${host#*:} > /tmp/answer
  : > /tmp/gate
}
grep -q ' 204 ' /tmp/answer
wget -q -O - --header 'content-type: application/json' --post-data "{\"size\":${#content}}" $base/caches/$id
"#;

/// Puts what is found as `deps` into `/tmp/found`, and where this job finds its cache into `/tmp/mine`.
pub(crate) const FIND: &str = r#"
set -e
printf %s $ACTIONS_CACHE_URL > /tmp/mine
wget -q -O /tmp/entry "${ACTIONS_CACHE_URL}_apis/artifactcache/cache?keys=deps&version=v1"
if [ -s /tmp/entry ]; then
  wget -q -O /tmp/content "$(sed 's/.*"archiveLocation":"\([^"]*\)".*/\1/' /tmp/entry)"
else
  : > /tmp/content
fi
mv /tmp/content /tmp/found
"#;

/// A step that runs a script, for a workflow.
pub(crate) fn step(script: &str) -> String {
    let lines: Vec<String> = script.trim().lines().map(|line| format!("          {line}\n")).collect();
    format!("      - run: |\n{}", lines.concat())
}

/// Proves that the job of a machine, which has run [`FIND`], found what the job of `saver` saved; that the token of that job is
/// worth nothing any more; and that its own is worth something in its machine alone.
pub(crate) fn assert_found(world: &World, machine: &str, saver: &str) {
    let ask = |which: &str| {
        let url = format!("$(cat /tmp/{which})_apis/artifactcache/cache?keys=deps&version=v1");
        let asked = world.exec(machine, &format!("wget -q -O /dev/null \"{url}\""));
        (asked.status.success(), text(&asked.stderr))
    };
    let found = text(&world.exec(machine, "cat /tmp/found").stdout);
    assert!(
        found.contains(&format!("/{saver}.")),
        "{found} is not what the job of {saver} saved\n{}",
        world.log()
    );
    let (known, said) = ask("found");
    assert!(!known && said.contains("401"), "the token of a job that has ended: {said}");
    let (known, said) = ask("mine");
    assert!(known, "{said}");
    // From somewhere else, here the host.
    let mine = text(&world.exec(machine, "cat /tmp/mine").stdout);
    let (host, path) = mine.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (host, request) = (
        host.to_owned(),
        format!(
            "GET /{path}_apis/artifactcache/cache?keys=deps&version=v1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ),
    );
    let answer = world.namespace.inside(move || {
        let mut connection = TcpStream::connect(host).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(answer.contains(" 401 ") && answer.contains("belongs to another machine"), "{answer}");
}

/// The cache's numbers.
pub(crate) fn counts(world: &World) -> Value {
    world.json(&["cache", "status"])["actions"]["counts"].clone()
}

/// A number of the metrics.
pub(crate) fn metric(world: &World, name: &str) -> u64 {
    let name = format!("fireactions_actions_cache_{name} ");
    let metrics = world.get("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name}: {metrics}")).trim().parse().unwrap()
}

/// For what takes moments, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// The server starts while its bucket is away, says so, and uses it once it is there.
#[test]
fn the_bucket_of_the_configuration_is_used_once_it_is_there() {
    let Some(program) =
        real_s3::available("actions_cache::the_bucket_of_the_configuration_is_used_once_it_is_there")
    else {
        return;
    };
    // Its address is known, and nobody is there.
    let s3 = Arc::new(RealS3::start(&program));
    s3.kill();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), real_s3::SECRET).unwrap();
    let more = format!(
        "actions_cache: {{enabled: true, keep_free_mib: 0, s3: {{bucket: {}, endpoint: '{}', region: {}, prefix: e2e, \
         access_key_id: {}, secret_access_key_file: {}}}}}",
        real_s3::BUCKET,
        s3.endpoint(),
        real_s3::REGION,
        real_s3::KEY_ID,
        secret.path().display()
    );
    let world = World::start(Setup { pools: pool("default", 0, 1, ""), more, ..Setup::default() });
    let status = || world.json(&["cache", "status"])["actions"].clone();
    let problem = world.wait(DEADLINE, "what is wrong with the bucket", || {
        status()["problem"].as_str().map(ToOwned::to_owned)
    });
    assert!(problem.contains("the bucket of the cache cannot "), "{problem}");
    assert_eq!(status()["directory"], "s3://ci-cache/e2e");
    assert_eq!((&status()["up"], metric(&world, "storage_up")), (&true.into(), 0));
    assert!(!world.log().contains(real_s3::SECRET));

    world.namespace.inside({
        let s3 = Arc::clone(&s3);
        move || s3.resume()
    });
    world.wait(DEADLINE, "the bucket", || world.cli(&["cache", "gc"]).status.success().then_some(()));
    assert_eq!((&status()["problem"], metric(&world, "storage_up")), (&Value::Null, 1));
    assert_eq!(s3.objects("e2e/"), ["e2e/v1/clock"]);
    // It is in the world's namespace, where nothing is to be left.
    s3.kill();
    world.finish();
}
