//! Mirrors of a registry: asked in their order, passed over when they fail or lie.

use super::*;

/// What a mirror answers instead of the right bytes.
type Lie = fn(&[u8]) -> Option<Response>;

/// A port at which nobody listens.
async fn closed() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// With these mirrors of the registry at `port`.
fn mirrored(port: u16, mirrors: &[String]) -> ImagesConfig {
    let mirrors = [(format!("localhost:{port}"), mirrors.to_vec())].into();
    ImagesConfig { mirrors, ..quick() }
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

async fn pulled(config: ImagesConfig, port: u16) -> Vec<String> {
    names(&Lab::with(config).images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap())
}

fn requests(server: &Server, path_end: &str) -> u32 {
    let counts = server.counts.lock().unwrap();
    counts.iter().filter(|(path, _)| path.ends_with(path_end)).map(|(_, count)| count).sum()
}

#[tokio::test]
async fn the_first_mirror_that_answers_is_enough() {
    let (mirror, port) = Server::start(&sample()).await;
    let (second, second_port) = Server::start(&sample()).await;
    // The registry itself is gone.
    let upstream = closed().await;
    let mirrors = [at(closed().await), at(port), at(second_port)];
    let lab = Lab::with(mirrored(upstream, &mirrors));
    let image = reference(upstream);
    let pull = || lab.images.ensure(&image, PullPolicy::Always, None);
    assert_eq!(names(&pull().await.unwrap()), ["b", "big", "c"]);
    assert!(requests(&mirror, "") > 0);
    // Unchanged: the mirror's word is enough.
    let before = requests(&mirror, "");
    pull().await.unwrap();
    // What it speaks, and the tag; loopback registries are asked for the first.
    assert_eq!(requests(&mirror, "") - before, 2);
    assert_eq!(requests(&second, ""), 0);
}

#[tokio::test]
async fn a_mirror_that_lies_is_passed_over_for_the_rest_of_the_pull() {
    let image = sample();
    let layer = image.blobs[0].0.clone();
    let lies: [(&str, &str, Lie); 6] = [
        ("another layer", &layer, |bytes| Some(vec![7; bytes.len()].into_response())),
        ("half a layer", &layer, |bytes| Some(broken(bytes, bytes.len() / 2, false))),
        ("another config", &image.config_digest, |bytes| Some(vec![b' '; bytes.len()].into_response())),
        ("another manifest", &image.manifest_digest(), |_| Some("{}".into_response())),
        ("no document", "/manifests/t", |_| Some("<html>log in</html>".into_response())),
        ("an error", "/manifests/t", |_| Some(StatusCode::BAD_GATEWAY.into_response())),
    ];
    for (what, path, lie) in lies {
        let (mirror, port) = Server::start(&image).await;
        let (upstream, upstream_port) = Server::start(&image).await;
        mirror.fault(path, move |_, _, bytes| lie(bytes));
        let found = pulled(mirrored(upstream_port, &[at(port)]), upstream_port).await;
        assert_eq!(found, ["b", "big", "c"], "{what}");
        assert_eq!(requests(&mirror, path), 1, "{what}: it is not asked again");
        assert_eq!(requests(&upstream, path), 1, "{what}");
    }
}

#[tokio::test]
async fn what_nobody_has_is_told_by_the_registry() {
    let (_mirror, port) = Server::start(&sample()).await;
    let upstream = closed().await;
    let config = mirrored(upstream, &[at(port)]);
    let absent = ImageRef::new(format!("localhost:{upstream}/r:nope")).unwrap();
    let error = Lab::with(config).images.ensure(&absent, PullPolicy::Always, None).await.unwrap_err();
    let of_registry = format!("localhost:{upstream}");
    assert!(
        matches!(&error, ImageError::Unreachable { registry, .. } if *registry == of_registry),
        "{error}"
    );
}

#[tokio::test]
async fn a_real_registry_mirrors_another_below_a_path() {
    let mirror = Registry::start(false);
    let image = sample();
    mirror.push(&image, "hub/r", "t", None).await;
    let upstream = closed().await;
    let config = mirrored(upstream, &[format!("127.0.0.1:{}/hub", mirror.port)]);
    assert_eq!(pulled(config, upstream).await, ["b", "big", "c"]);
}
