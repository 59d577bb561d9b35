//! A GitHub Enterprise Server whose certificate an authority of its own has signed.
//!
//! `tls/` has the authority's certificate, and a server's for `localhost` with its key; they are for this test alone. The
//! authority's key is kept nowhere.

use std::sync::Arc;

use fireactions_github::{Error, Github};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::common::{scope, settings, timeouts, token};

const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

/// Answers every request with an empty list of runners; returns the port.
async fn serve() -> u16 {
    let certificates = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\nconnection: close\r\n\r\n{\"runners\":[]}";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    port
}

fn github(port: u16, authority: Option<&[u8]>) -> Github {
    let mut settings = settings(&format!("https://localhost:{port}"), token("t"));
    settings.ca_pem = authority.map(<[u8]>::to_vec);
    Github::with_timeouts(settings, timeouts()).unwrap()
}

#[tokio::test]
async fn it_is_trusted_when_it_is_set_and_only_then() {
    let port = serve().await;
    assert_eq!(github(port, Some(AUTHORITY)).runners(&scope("octo")).await.unwrap(), []);
    let error = github(port, None).runners(&scope("octo")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}
