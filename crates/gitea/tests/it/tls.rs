//! A server whose certificate an authority of its own has signed; the certificates are those of the test of GitHub's client.

use std::sync::Arc;

use fireactions_gitea::{Error, Gitea, Kind, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::common::{client_of, settings};

const AUTHORITY: &[u8] = include_bytes!("../../../github/tests/it/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../github/tests/it/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../github/tests/it/tls/server.key");

/// Answers every request with a version; returns the port.
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
            let answer =
                "HTTP/1.1 200 OK\r\ncontent-length: 20\r\nconnection: close\r\n\r\n{\"version\":\"1.26.0\"}";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    port
}

fn gitea(port: u16, authority: Option<&[u8]>) -> Gitea {
    let ca_pem = authority.map(<[u8]>::to_vec);
    client_of(Settings { ca_pem, ..settings(Kind::Gitea, &format!("https://localhost:{port}/git/")) })
}

#[tokio::test]
async fn an_authority_is_trusted_when_it_is_set_and_only_then() {
    let port = serve().await;
    assert_eq!(gitea(port, Some(AUTHORITY)).server().await.unwrap().text, "1.26.0");
    let error = gitea(port, None).server().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}
