//! What jobs do with the host's cache: by hand, with what the smallest image has, in the first version of the protocol. It is
//! used in the worlds of other tests, so that no machine boots for it alone.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::world::{World, text};

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
