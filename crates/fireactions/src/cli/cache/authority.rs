//! The authority whose certificates the proxy has for what it opens. Its key never leaves this host.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// What stands before the day of its end, above the certificate, where PEM has room for words.
const UNTIL: &str = "valid until ";
/// How long a new one is valid.
const YEARS: i64 = 3;
/// Days before its end from which on it is made anew.
const EARLY: i64 = 30;

/// Makes the authority unless there is one that is valid for long enough. True: it was made.
///
/// # Errors
///
/// Its key is readable to others, or files cannot be read or written.
pub(super) fn ensure(certificate: &Path, key: &Path) -> anyhow::Result<bool> {
    let today = today();
    is_private(key)?;
    let soon = today.checked_add(EARLY.days()).unwrap_or(today);
    let until = until(certificate)?;
    if key.exists() && until.is_some_and(|until| until > soon) {
        return Ok(false);
    }
    make(certificate, key, today).context("the proxy's authority could not be made")?;
    Ok(true)
}

fn today() -> Date {
    Timestamp::now().to_zoned_datetime(TimeZone::UTC).date()
}

/// Who reads the key can be any server to all guests.
fn is_private(key: &Path) -> anyhow::Result<()> {
    let found = match fs::metadata(key) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be looked at", key.display())),
    };
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        bail!(
            "the key of the proxy's authority, {}, is readable to others (mode {mode:04o}), who could be any server to the guests: \
             remove it and run `systemctl restart fireactions-registry-cache`, which makes a new one",
            key.display()
        );
    }
    Ok(())
}

/// The day of a certificate's end, as its file says it; nothing where there is none that says so.
fn until(certificate: &Path) -> anyhow::Result<Option<Date>> {
    match fs::read_to_string(certificate) {
        Ok(text) => Ok(text.lines().next().and_then(|line| line.strip_prefix(UNTIL)?.parse().ok())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", certificate.display())),
    }
}

fn make(certificate: &Path, key: &Path, today: Date) -> anyhow::Result<()> {
    let end = today.checked_add(YEARS.years())?;
    let at = |day: Date| {
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(day.year().into(), part(day.month()), part(day.day()))
    };
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, fireactions_registry_cache::AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // A guest's clock may be some hours behind.
    params.not_before = at(today.checked_sub(1.days())?);
    params.not_after = at(end);
    let pem = params.self_signed(&pair)?.pem();
    // The key first: a certificate without it is made anew, and so is one of another key.
    let _ = fs::remove_file(certificate);
    put(key, &pair.serialize_pem(), 0o600)?;
    put(certificate, &format!("{UNTIL}{end}\n{pem}"), 0o644)
}

/// Whole, or not at all.
fn put(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut builder = tempfile::Builder::new();
    let permissions = fs::Permissions::from_mode(0o600);
    let mut file = builder.prefix(".authority").permissions(permissions).tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn it_is_made_once_and_again_before_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("ca.pem"), dir.path().join("ca.key"));
        let read = || (fs::read_to_string(&certificate).unwrap(), fs::read_to_string(&key).unwrap());
        assert!(ensure(&certificate, &key).unwrap());
        let first = read();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
        assert!(!ensure(&certificate, &key).unwrap());
        assert_eq!(read(), first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);

        // As OpenSSL sees it: an authority, valid for as long as it says, found by the hash that guests are told.
        let openssl = |options: &[&str]| {
            let output = Command::new("openssl")
                .args(["x509", "-noout", "-in"])
                .arg(&certificate)
                .args(options)
                .output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        assert!(openssl(&["-text"]).contains("CA:TRUE, pathlen:0"));
        let hash = openssl(&["-subject_hash"]);
        let told = fireactions_registry_cache::trusted("");
        assert!(told.iter().any(|file| file.path == format!("/etc/ssl/certs/{}.0", hash.trim())), "{hash}");
        let days = |days: i64| openssl(&["-checkend", &(days * 86400).to_string()]);
        assert!(days(3 * 365 - 1).contains("will not expire") && days(3 * 366 + 1).contains("will expire"));

        // One that ends soon, and one whose key is lost.
        let soon = today().checked_add(20.days()).unwrap();
        let (_, rest) = first.0.split_once('\n').unwrap();
        fs::write(&certificate, format!("{UNTIL}{soon}\n{rest}")).unwrap();
        assert!(ensure(&certificate, &key).unwrap());
        let second = read();
        assert!(second.0 != first.0 && second.1 != first.1);
        fs::remove_file(&key).unwrap();
        assert!(ensure(&certificate, &key).unwrap());
        assert_ne!(read().0, second.0);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("ca.pem"), dir.path().join("ca.key"));
        assert!(ensure(&certificate, &key).unwrap());
        for mode in [0o644, 0o640, 0o604] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let said = ensure(&certificate, &key).unwrap_err().to_string();
            assert!(said.contains("ca.key, is readable to others") && said.contains("remove it"), "{said}");
        }
    }
}
