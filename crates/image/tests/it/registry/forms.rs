//! Registries as they are set up: with TLS of every kind, behind login pages, with Docker's and podman's logins; and what is
//! asked of them.

use fireactions_testkit::certificate::Authority;

use super::*;

/// A server with TLS before the one at `port`, by a certificate of an authority that nobody knows. Returns its port and the
/// authority's certificate.
async fn with_tls(port: u16) -> (u16, String) {
    let authority = Authority::new();
    let acceptor = authority.acceptor();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who speaks without TLS is cut off, as most servers do it.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut plain = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
            });
        }
    });
    (own, authority.pem())
}

/// This host under an address that is not taken for it by its name.
const ELSEWHERE: &str = "[::ffff:7f00:1]";

async fn pull(config: ImagesConfig, reference: &str) -> Result<(), ImageError> {
    let image = ImageRef::new(reference).unwrap();
    Lab::with(config).images.ensure(&image, PullPolicy::Always, None).await.map(drop)
}

#[tokio::test]
async fn tls_is_used_where_the_registry_has_it_and_refused_for_a_reason() {
    let image = sample();
    let (server, plain) = Server::start(&image).await;
    let (secure, pem) = with_tls(plain).await;
    // Loopback, and what is listed, may go without TLS; with it, any certificate will do.
    let listed =
        |port: u16| ImagesConfig { insecure_registries: vec![format!("{ELSEWHERE}:{port}")], ..quick() };
    for (config, host) in [
        (quick(), format!("localhost:{secure}")),
        (quick(), format!("localhost:{plain}")),
        (listed(secure), format!("{ELSEWHERE}:{secure}")),
        (listed(plain), format!("{ELSEWHERE}:{plain}")),
    ] {
        pull(config, &format!("{host}/r:t")).await.unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    // Elsewhere it has to be TLS of an authority that is trusted. There is no second attempt.
    let with_ca = |pem: &str| ImagesConfig { ca_pem: Some(pem.as_bytes().to_vec()), ..quick() };
    for (config, port, says) in [
        (quick(), secure, "no authority that is trusted here has issued its certificate"),
        // It has issued it, but for another name.
        (with_ca(&pem), secure, "its certificate is not valid: certificate not valid for name"),
        (
            quick(),
            plain,
            "it does not use TLS; if the network path to it is safe, list it in images.insecure_registries",
        ),
    ] {
        let error = pull(config, &format!("{ELSEWHERE}:{port}/r:t")).await.unwrap_err();
        assert!(matches!(error, ImageError::Tls { .. }) && error.to_string().contains(says), "{error}");
    }
    assert!(fireactions_image::Images::open(&Lab::new().path("other"), with_ca("no certificate")).is_err());
    drop(server);
}

#[tokio::test]
async fn a_web_page_is_not_taken_for_an_answer() {
    let image = sample();
    let page =
        || ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], "<html>Log in</html>").into_response();
    for (end, status) in [
        ("/manifests/t".to_owned(), StatusCode::OK),
        (image.config_digest.clone(), StatusCode::OK),
        (image.blobs[0].0.clone(), StatusCode::OK),
        ("/manifests/t".to_owned(), StatusCode::FORBIDDEN),
    ] {
        let (server, port) = Server::start(&image).await;
        server.fault(&end, move |_, _, _| Some((status, page()).into_response()));
        let lab = Lab::new();
        let error =
            lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap_err().to_string();
        assert!(error.contains("a web page") && error.contains("a proxy or a login page"), "{end}: {error}");
        assert_eq!(
            server.counts.lock().unwrap().iter().filter(|(path, n)| path.ends_with(&end) && **n > 1).count(),
            0
        );
    }
}

#[tokio::test]
async fn a_tag_that_has_not_moved_is_only_looked_at() {
    let image = sample();
    let (server, port) = Server::start(&image).await;
    let lab = Lab::new();
    let asked = || {
        let seen = std::mem::take(&mut *server.methods.lock().unwrap());
        seen.into_iter()
            .filter(|(_, path)| path.ends_with("/manifests/t"))
            .map(|(method, _)| method)
            .collect::<Vec<_>>()
    };
    let first = lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert_eq!(asked(), [Method::GET]);
    let again = lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert_eq!((asked(), again.digest), (vec![Method::HEAD], first.digest));
    // A registry that cannot say it, and a tag that has moved.
    server.fault("/manifests/t", |count, _, _| {
        (count == 3).then(|| StatusCode::METHOD_NOT_ALLOWED.into_response())
    });
    lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert_eq!(asked(), [Method::HEAD, Method::GET]);
    let second = TestImage::new(&[vec![file("new", "")]]);
    server.add(&second);
    let moved = lab.images.ensure(&reference(port), PullPolicy::Always, None).await.unwrap();
    assert_eq!((asked(), names(&moved)), (vec![Method::HEAD, Method::GET], vec!["new".to_owned()]));
}

/// The same login in every form that Docker and podman read.
#[tokio::test]
async fn logins_are_read_as_docker_and_podman_do() {
    let registry = Registry::start(true);
    let right = base64::engine::general_purpose::STANDARD.encode("user:secret");
    registry.push(&sample(), "team/app", "v1", Some(&right)).await;
    let host = format!("127.0.0.1:{}", registry.port);
    let temp = tempfile::tempdir().unwrap();
    let name = format!("{host}/team/app:v1");
    let wrong = r#"{"auth":"dXNlcjp3cm9uZw=="}"#;
    let login = format!(r#"{{"auth":"{right}"}}"#);
    let unpadded = right.trim_end_matches('=');
    assert_ne!(unpadded, right);
    for (text, taken) in [
        (format!(r#"{{"auths":{{"{host}":{{"auth":"{unpadded}"}}}}}}"#), true),
        (format!(r#"{{"auths":{{"{host}":{{"auth":"{}\n{}\n"}}}}}}"#, &right[..5], &right[5..]), true),
        (format!(r#"{{"auths":{{"{host}":{login}}},"credHelpers":null,"credsStore":null}}"#), true),
        (format!(r#"{{"auths":{{"{host}":{login}}},"credsStore":""}}"#), true),
        (format!(r#"{{"auths":{{"{host}":{{"auth":null,"username":"user","password":"secret"}}}}}}"#), true),
        (format!(r#"{{"auths":{{"{host}/team":{login}}}}}"#), true),
        (
            format!(r#"{{"auths":{{"{host}":{wrong},"{host}/team":{wrong},"{host}/team/app":{login}}}}}"#),
            true,
        ),
        (format!(r#"{{"auths":{{"{host}/team":null,"{host}":{login}}}}}"#), true),
        // Null is absent; the login of another part is not this one's.
        (r#"{"auths":null}"#.to_owned(), false),
        (format!(r#"{{"auths":{{"{host}":null}}}}"#), false),
        (format!(r#"{{"auths":{{"{host}/tea":{login},"{host}/team/app2":{login}}}}}"#), false),
    ] {
        let error = pull(docker_config(temp.path(), &text), &name).await.err().map(|error| error.to_string());
        assert_eq!(error.is_none(), taken, "{text}: {error:?}");
        assert!(error.is_none_or(|error| error.contains("none are configured")), "{text}");
    }
}
