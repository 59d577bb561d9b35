//! A runner trusts whom the server trusts: the authorities of a forge's `ca_file` go into the machine. Without them a runner
//! in an ordinary image does not reach a forge whose certificate the company itself has signed, nor does `git` in its job.

use fireactions_model::{Program, Secret, Work, WorkFile, WorkSource};

/// Where they are: in a memory file system of the guest, in a directory that belongs to the runner's user.
const FILE: &str = "/run/fireactions-runner/authorities.pem";

/// Sets what programs read, then runs the runner. Most programs take one file in place of the image's own, so that file is
/// made of both; Node takes one beside its own. A variable that the image sets itself stays.
const SCRIPT: &str = r#"
own=$1; shift
all=${own%/*}/all-authorities.pem
for usual in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
    /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
  [ -r "$usual" ] || continue
  cat "$usual"; echo; break
done > "$all"
cat "$own" >> "$all"
chmod 644 "$all"
SSL_CERT_FILE=$all
: "${GIT_SSL_CAINFO:=$all}" "${CURL_CA_BUNDLE:=$all}" "${REQUESTS_CA_BUNDLE:=$all}" "${NODE_EXTRA_CA_CERTS:=$own}"
export SSL_CERT_FILE GIT_SSL_CAINFO CURL_CA_BUNDLE REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS
exec "$@"
"#;

/// Has the runner of this work, and the job's own steps, trust these authorities (PEM) in addition to the image's.
pub(super) fn trust(work: &mut Work, pem: &[u8]) {
    let Program::Command { argv } = &mut work.program else { return };
    let pem = certificates(&String::from_utf8_lossy(pem));
    let before = ["/bin/sh", "-e", "-c", SCRIPT, "trust", FILE];
    argv.splice(0..0, before.map(str::to_owned));
    work.files.push(WorkFile {
        source: WorkSource::Secret(Secret::new(pem)),
        dest: FILE.to_owned(),
        mode: 0o644,
    });
}

/// Only the certificates: a key that stands in the same file stays on the host.
fn certificates(pem: &str) -> String {
    let mut inside = false;
    let mut all = String::new();
    for line in pem.lines().map(str::trim_end) {
        inside |= line == "-----BEGIN CERTIFICATE-----";
        if inside {
            all += line;
            all.push('\n');
        }
        inside &= line != "-----END CERTIFICATE-----";
    }
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// What a runner sees that is started this way in an image which sets these variables.
    fn seen(own: &Path, image: &[(&str, &str)]) -> String {
        let output = Command::new("/bin/sh")
            .args(["-e", "-c", SCRIPT, "trust"])
            .arg(own)
            .args([
                "sh",
                "-c",
                r#"echo "$1"; cat "$SSL_CERT_FILE"; env | grep ^NODE; exit 7"#,
                "runner",
                "two words",
            ])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(image.iter().copied())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_image_s_own_authorities_stay_and_the_runner_runs_as_it_would() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own.pem");
        std::fs::write(&own, "OURS\n").unwrap();
        let image = dir.path().join("image.pem");
        // Without an end of its last line, it would swallow the beginning of ours.
        std::fs::write(&image, "THEIRS").unwrap();
        let node = format!("NODE_EXTRA_CA_CERTS={}", own.display());
        let expected = format!("two words\nTHEIRS\nOURS\n{node}\n");
        assert_eq!(seen(&own, &[("SSL_CERT_FILE", image.to_str().unwrap())]), expected);
    }

    #[test]
    fn nothing_but_certificates_leaves_the_host() {
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nKEY\n-----END PRIVATE KEY-----\n";
        let file = format!("Our own authority:\n{one}{key}{one}").replace('\n', "\r\n");
        assert_eq!(certificates(&file), format!("{one}{one}"));
    }

    #[test]
    fn a_variable_of_the_image_s_is_not_taken_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own.pem");
        std::fs::write(&own, "OURS\n").unwrap();
        let seen = seen(&own, &[("NODE_EXTRA_CA_CERTS", "/theirs"), ("SSL_CERT_FILE", "/nowhere")]);
        assert!(seen.ends_with("OURS\nNODE_EXTRA_CA_CERTS=/theirs\n"), "{seen}");
    }
}
