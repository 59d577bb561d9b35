//! A certificate authority that nobody knows, for servers with TLS at 127.0.0.1, localhost, and the host as guests reach it.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// Tags of DER (X.690).
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;

/// ecdsa-with-SHA256 (RFC 5758).
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// id-ecPublicKey and prime256v1 (RFC 5480).
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// commonName, and the extensions basicConstraints, keyUsage and subjectAltName (RFC 5280).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// The bridge's address of the usual subnet.
const GUESTS_HOST: [u8; 4] = [172, 30, 0, 1];

/// An authority and the one server that it vouches for.
pub struct Authority {
    own: Vec<u8>,
    server: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate (PEM) of an authority of which nobody has anything.
pub fn stranger() -> String {
    Authority::new().pem()
}

impl Authority {
    /// A new one, with keys of its own.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let (own, server) = (key(), key());
        let is_authority = concat(&[
            extension(BASIC_CONSTRAINTS, true, &tagged(SEQUENCE, &[0x01, 0x01, 0xff])),
            extension(KEY_USAGE, true, &[BIT_STRING, 2, 2, 0x04]),
        ]);
        let names =
            concat(&[tagged(0x87, &[127, 0, 0, 1]), tagged(0x87, &GUESTS_HOST), tagged(0x82, b"localhost")]);
        let names = extension(ALTERNATIVE_NAMES, false, &tagged(SEQUENCE, &names));
        let pkcs8 = server.to_pkcs8v1().expect("a key has an encoding");
        Self {
            own: certificate(1, "Test Authority", &own, &own, &is_authority),
            server: certificate(2, "test server", &server, &own, &names),
            key: pkcs8.as_ref().to_vec(),
        }
    }

    /// What a client has to trust.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.own)
    }

    /// What a server of another program is given: its certificate, and its key (PEM).
    pub fn server_pem(&self) -> (String, String) {
        (pem("CERTIFICATE", &self.server) + &self.pem(), pem("PRIVATE KEY", &self.key))
    }

    /// What serves with it.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor_for(&[])
    }

    /// What serves with it, to those who want one of these protocols (ALPN).
    pub fn acceptor_for(&self, protocols: &[&str]) -> TlsAcceptor {
        let chain = [&self.server, &self.own].map(|der| CertificateDer::from(der.clone()));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.to_vec(), key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// The text form of DER (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key")
}

/// A certificate for a key, by the authority's (RFC 5280, section 4.1).
fn certificate(
    serial: u8,
    subject: &str,
    key: &EcdsaKeyPair,
    authority: &EcdsaKeyPair,
    extensions: &[u8],
) -> Vec<u8> {
    let algorithm = tagged(SEQUENCE, &tagged(OBJECT, ECDSA_SHA256));
    let times = concat(&[tagged(UTC_TIME, b"200101000000Z"), tagged(UTC_TIME, b"491231235959Z")]);
    let kind = tagged(SEQUENCE, &concat(&[tagged(OBJECT, EC_KEY), tagged(OBJECT, P256)]));
    let to_sign = tagged(
        SEQUENCE,
        &concat(&[
            tagged(0xa0, &[INTEGER, 1, 2]),
            tagged(INTEGER, &[serial]),
            algorithm.clone(),
            name("Test Authority"),
            tagged(SEQUENCE, &times),
            name(subject),
            tagged(SEQUENCE, &concat(&[kind, bits(key.public_key().as_ref())])),
            tagged(0xa3, &tagged(SEQUENCE, extensions)),
        ]),
    );
    let signature = authority.sign(&SystemRandom::new(), &to_sign).expect("a signature");
    tagged(SEQUENCE, &concat(&[to_sign, algorithm, bits(signature.as_ref())]))
}

fn name(common: &str) -> Vec<u8> {
    let pair = concat(&[tagged(OBJECT, COMMON_NAME), tagged(UTF8, common.as_bytes())]);
    tagged(SEQUENCE, &tagged(SET, &tagged(SEQUENCE, &pair)))
}

fn extension(id: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { vec![0x01, 0x01, 0xff] } else { vec![] };
    tagged(SEQUENCE, &concat(&[tagged(OBJECT, id), critical, tagged(OCTET_STRING, value)]))
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    tagged(BIT_STRING, &concat(&[vec![0], bytes.to_vec()]))
}

fn concat<const N: usize>(parts: &[Vec<u8>; N]) -> Vec<u8> {
    parts.concat()
}

/// One element of DER.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => element.push(length),
        Ok(length) => element.extend([0x81, length]),
        Err(_) => {
            element.push(0x82);
            element.extend(u16::try_from(length).expect("a short element").to_be_bytes());
        }
    }
    element.extend(content);
    element
}
