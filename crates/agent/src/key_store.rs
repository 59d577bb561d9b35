//! A key store of Java's with certificates and nothing else, in its first format (JKS). Every version of Java reads it, whatever the
//! file's name, and without a password. Its layout is in OpenJDK's `sun.security.provider.JavaKeyStore`.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

/// Where a certificate begins in a text.
pub(crate) const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
/// The tag of an entry that is a certificate.
const TRUSTED: u32 = 2;
/// What everybody takes, and what Java's own store has. It protects nothing; the checksum wants one.
const PASSWORD: &str = "changeit";
/// Between password and content in the checksum.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// The store with these certificates (PEM), each once. An error where one cannot be read: a store that lacks somebody is not what
/// programs expect.
pub(crate) fn of(pem: &str) -> Result<Vec<u8>, String> {
    let certificates = certificates(pem)?;
    let mut store = Vec::new();
    for word in [MAGIC, VERSION, length(&certificates)?] {
        store.extend(word.to_be_bytes());
    }
    for (number, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED.to_be_bytes());
        text(&mut store, &format!("fireactions-{number}"));
        // When it was put in. The same certificates make the same store.
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate)?.to_be_bytes());
        store.extend(certificate);
    }
    let password: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let sum = Sha1::new().chain_update(password).chain_update(WHITENER).chain_update(&store).finalize();
    store.extend(sum);
    Ok(store)
}

/// The certificates (DER) of a text of them. What stands between them says something to people.
fn certificates(pem: &str) -> Result<BTreeSet<Vec<u8>>, String> {
    let mut all = BTreeSet::new();
    for after in pem.split(BEGIN).skip(1) {
        let body = after.split_once(END).map(|(body, _)| body);
        let body: String = body.unwrap_or("?").split_whitespace().collect();
        let certificate = BASE64_STANDARD.decode(body);
        all.insert(certificate.map_err(|_| "one of the image's certificates cannot be read".to_owned())?);
    }
    Ok(all)
}

fn length<T>(list: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) -> Result<u32, String> {
    u32::try_from(list.into_iter().len()).map_err(|_| "a certificate is very large".to_owned())
}

/// Text as Java writes it: at most 65,535 bytes, and here ASCII.
fn text(store: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    store.extend(length.to_be_bytes());
    store.extend(text.bytes().take(length.into()));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Output};

    use fireactions_testkit::skip;

    use super::*;

    fn run(program: &str, words: &[&str]) -> Output {
        Command::new(program).args(words).output().unwrap()
    }

    fn said(output: &Output) -> String {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// A new authority's certificate.
    fn certificate(dir: &std::path::Path, name: &str) -> String {
        let (key, file) = (dir.join("key"), dir.join(name));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj"])
            .args([&format!("/CN={name}"), "-keyout"])
            .arg(key)
            .arg("-out")
            .arg(&file)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", said(&made));
        fs::read_to_string(file).unwrap()
    }

    #[test]
    fn java_trusts_who_is_in_it() {
        if Command::new("keytool").arg("-help").output().is_err() {
            skip::say(skip::Kind::Java, "java_trusts_who_is_in_it", "there is no Java in PATH");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (certificate(dir.path(), "one"), certificate(dir.path(), "two"));
        let store = dir.path().join("store");
        // Each once, and what is written between them does not matter.
        fs::write(&store, of(&format!("# the first\n{one}{two}# and again\n{one}")).unwrap()).unwrap();
        let store = store.to_str().unwrap();
        for password in [&["-storepass", "changeit"][..], &[]] {
            let listed = run("keytool", &[&["-list", "-v", "-keystore", store], password].concat());
            let text = said(&listed);
            assert!(listed.status.success() && text.contains("contains 2 entries"), "{text}");
            assert!(text.contains("Owner: CN=one") && text.contains("Owner: CN=two"), "{text}");
        }
        let wrong = run("keytool", &["-list", "-keystore", store, "-storepass", "changed"]);
        assert!(!wrong.status.success(), "{}", said(&wrong));

        // What a program trusts that has nothing but the variable.
        let program = dir.path().join("Trusts.java");
        fs::write(
            &program,
            "import javax.net.ssl.*;
             class Trusts { public static void main(String[] a) throws Exception {
                 var all = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
                 all.init((java.security.KeyStore) null);
                 for (var one : ((X509TrustManager) all.getTrustManagers()[0]).getAcceptedIssuers())
                     System.out.println(one.getSubjectX500Principal());
             } }",
        )
        .unwrap();
        let mut java = Command::new("java");
        java.env("JAVA_TOOL_OPTIONS", format!("-Djavax.net.ssl.trustStore={store}")).arg(program);
        let trusted = java.output().unwrap();
        let mut names: Vec<_> = std::str::from_utf8(&trusted.stdout).unwrap().lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["CN=one", "CN=two"], "{}", said(&trusted));
    }

    #[test]
    fn what_cannot_be_read_makes_no_store() {
        for broken in [
            "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nAAAA",
        ] {
            assert!(of(broken).unwrap_err().contains("cannot be read"), "{broken}");
        }
    }
}
