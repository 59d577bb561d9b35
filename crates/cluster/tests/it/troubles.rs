//! What is wrong with NATS is said, with what to do.

use std::net::Ipv4Addr;

use fireactions_cluster::{Buckets, Link, Settings, Trouble, look};
use fireactions_testkit::certificate;
use fireactions_testkit::port::ReservedPort;
use fireactions_testkit::real_nats::{NatsSetup, RealNats};

use crate::{creds, nats, settings};

/// What comes of opening it as a server does.
async fn opened(settings: &Settings) -> Result<(), Trouble> {
    let link = Link::open(settings).await?;
    Buckets::open_or_make(&link).await.map(drop)
}

async fn said(settings: &Settings) -> (Trouble, String) {
    let trouble = opened(settings).await.unwrap_err();
    let text = trouble.to_string();
    (trouble, text)
}

#[tokio::test]
async fn a_nats_that_lacks_something() {
    let test = "a_nats_that_lacks_something";
    let with = |setup| nats(test, setup);
    let Some(plain) = with(NatsSetup { jetstream: false, ..NatsSetup::default() }) else { return };
    let (trouble, text) = said(&settings(&plain, "ci")).await;
    assert!(
        matches!(trouble, Trouble::NoJetStream(_)) && text.contains("add 'jetstream {store_dir"),
        "{text}"
    );

    let Some(small) = with(NatsSetup { storage: Some(1 << 20), ..NatsSetup::default() }) else { return };
    let (trouble, text) = said(&settings(&small, "ci")).await;
    assert!(matches!(trouble, Trouble::NoStorage { .. }) && text.contains("raise max_file_store"), "{text}");

    let Some(fresh) = with(NatsSetup::default()) else { return };
    let link = Link::open(&settings(&fresh, "ci")).await.unwrap();
    let trouble = look(&link).await.unwrap_err();
    assert_eq!(trouble, Trouble::NoBucket("fireactions-ci".to_owned()), "nobody was ever there");
    opened(&settings(&fresh, "ci")).await.unwrap();
    newer(&fresh).await;
    let (trouble, text) = said(&settings(&fresh, "ci")).await;
    assert!(
        matches!(trouble, Trouble::Protocol { theirs: 2, ours: 1 }) && text.ends_with("upgrade this host"),
        "{text}"
    );
}

/// Hosts of a later version have been here.
async fn newer(nats: &RealNats) {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let bucket = async_nats::jetstream::new(client).get_key_value("fireactions-ci").await.unwrap();
    bucket.put("protocol", r#"{"version": 2}"#.into()).await.unwrap();
}

#[tokio::test]
async fn a_nats_that_does_not_take_this_host() {
    let setup = NatsSetup { tls: true, credentials: true, ..NatsSetup::default() };
    let Some(nats) = nats("a_nats_that_does_not_take_this_host", setup) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut right = settings(&nats, "ci");
    right.require_tls = true;
    right.ca_file = Some(file("ca.pem", &nats.authority()));
    right.creds = Some(creds(nats.credentials()));
    opened(&right).await.unwrap();

    let strange = Settings { creds: Some(creds(nats.strange_credentials())), ..right.clone() };
    let (trouble, text) = said(&strange).await;
    assert!(matches!(trouble, Trouble::Refused { .. }) && text.contains("cluster.nats.creds_file"), "{text}");
    let (trouble, text) = said(&Settings { creds: None, ..right.clone() }).await;
    assert!(matches!(trouble, Trouble::Refused { .. }), "{text}");
    let (trouble, text) =
        said(&Settings { creds: Some(creds(file("odd", "hunter2"))), ..right.clone() }).await;
    assert!(matches!(trouble, Trouble::Credentials(_)) && !text.contains("hunter2"), "{text}");
    let other = file("other.pem", &certificate::stranger());
    let (trouble, text) = said(&Settings { ca_file: Some(other), ..right.clone() }).await;
    assert!(matches!(trouble, Trouble::Tls { .. }) && text.contains("cluster.nats.tls.ca_file"), "{text}");

    let nobody = ReservedPort::new((Ipv4Addr::LOCALHOST, 0).into());
    let url = format!("nats://{}", nobody.address());
    let (trouble, text) = said(&Settings { urls: vec![url], require_tls: false, ..right }).await;
    assert!(matches!(trouble, Trouble::Unreachable { .. }) && text.contains("refused"), "{text}");
}
