//! Sockets: permissions, leftovers, and addresses that would be open to strangers.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use fireactions_api::listen::{self, ListenError};
use fireactions_api::{Client, ClientError, Target};

#[tokio::test]
async fn the_socket_is_for_its_group_and_replaces_a_dead_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/api.sock");
    std::fs::create_dir(dir.path().join("run")).unwrap();
    // A dead server leaves its socket.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = listen::bind_unix(&path, 0o660, Some("root")).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);

    let second = listen::bind_unix(&path, 0o660, None).await;
    assert!(matches!(second, Err(ListenError::InUse(_))), "{second:?}");
    drop(listener);
    listen::bind_unix(&path, 0o600, None).await.unwrap();
    let names: Vec<_> =
        std::fs::read_dir(dir.path().join("run")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["api.sock"], "nothing else is left there");
}

#[tokio::test]
async fn other_files_and_groups_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(listen::bind_unix(&path, 0o660, None).await, Err(ListenError::NotASocket(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let free = dir.path().join("other.sock");
    let error = listen::bind_unix(&free, 0o660, Some("no-such-group-here")).await.unwrap_err();
    assert!(error.to_string().contains("groupadd no-such-group-here"), "{error}");
    assert!(!free.exists());
}

#[test]
fn strangers_need_a_token() {
    let error = listen::authority("0.0.0.0:0".parse().unwrap(), &[]).unwrap_err();
    assert!(matches!(error, ListenError::NeedsToken(_)), "{error}");
    // As the configuration says it is.
    let auth = listen::authority("[::ffff:127.0.0.1]:80".parse().unwrap(), &[]).unwrap();
    assert_eq!(auth, fireactions_api::Auth::Loopback);
}

#[tokio::test]
async fn an_absent_server_is_told_from_a_forbidden_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let client = Client::new(Target::Socket(path.clone()), None).unwrap();
    let error = client.version().await.unwrap_err();
    let ClientError::Unreachable { kind, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*kind, Some(std::io::ErrorKind::NotFound));
    assert!(error.is_transient());
    assert!(
        error.to_string().starts_with(&format!("cannot reach the server at {}: ", path.display())),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("fireactions server --config"), "{error}");
}
