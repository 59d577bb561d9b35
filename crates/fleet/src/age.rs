//! A host's age key, from its SSH host key: secrets are encrypted to it before the host is asked for anything. The conversion is
//! that of `ssh-to-age`: the ed25519 point in Montgomery's form is an X25519 key (RFC 7748, 4.1), written as age writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bech32::{Bech32, Hrp};
use curve25519_dalek::edwards::CompressedEdwardsY;

/// Why a line is not the public key of an SSH host that age can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgeKeyError {
    /// RSA, ECDSA, or no key at all.
    #[error("it is not an ssh-ed25519 key, and age can use no other kind")]
    Kind,
    /// Looks like one, and is damaged.
    #[error("the ssh-ed25519 key is damaged")]
    Damaged,
    /// A point that everybody knows the secret of.
    #[error("the ssh-ed25519 key is a weak one that nothing can be encrypted to")]
    Weak,
}

const KIND: &str = "ssh-ed25519";

/// The age recipient (`age1…`) of `ssh-ed25519 BASE64 [COMMENT]`.
pub fn recipient(public_key: &str) -> Result<String, AgeKeyError> {
    let mut words = public_key.split_whitespace();
    if words.next() != Some(KIND) {
        return Err(AgeKeyError::Kind);
    }
    let blob = words.next().and_then(|word| STANDARD.decode(word).ok()).ok_or(AgeKeyError::Damaged)?;
    let point = point(&blob).and_then(|point| point.decompress()).ok_or(AgeKeyError::Damaged)?;
    if point.is_small_order() {
        return Err(AgeKeyError::Weak);
    }
    let hrp = Hrp::parse("age").map_err(|_| AgeKeyError::Damaged)?;
    bech32::encode::<Bech32>(hrp, point.to_montgomery().as_bytes()).map_err(|_| AgeKeyError::Damaged)
}

/// The point in a key's blob: two strings, each after its length in four bytes (RFC 8709).
fn point(blob: &[u8]) -> Option<CompressedEdwardsY> {
    let (kind, rest) = string(blob)?;
    let (point, rest) = string(rest)?;
    (kind == KIND.as_bytes() && rest.is_empty()).then(|| CompressedEdwardsY::from_slice(point).ok()).flatten()
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of `ssh-to-age`'s own tests (MIT), and what it makes of them.
    #[test]
    fn as_ssh_to_age_has_them() {
        for (ssh, age) in [
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOHz+U0YtjINc54dZiJNclfmEFifF7RXCFlNlTbuZBji joerg@turingmachine",
                "age17044m9wgakla6pzftf4srtl3h5mcsr85jysgt5fg23zpnta8sfdqhzn452",
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID/+AcTjBdIG6Xwk4ZiuckvG5xNDlaqX316bKGo6D3a5",
                "age1pa3t6c94xl4z6k02rt0lw2za7e7tdjsse46xjh8y7tluy59qu5tqaqgauq",
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF/KPU3Z5LSjbBI6hrq25wCcseq2UpqSzUFZRr+ux6LM\n",
                "age1hjm3aujg9e79f5yth8a2cejzdjg5n9vnu96l05p70uvfpeltnpms7yy3pp",
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIL2vjdqpppuCn7yPdF2muINriAG7zBWrsELKpPWkhn5",
                "age1v8zjc47jmlqwefyu66s0d4ke98qr4vnuj3cpvs4z9npfdw833dxqwjrhzv",
            ),
        ] {
            assert_eq!(recipient(ssh).as_deref(), Ok(age), "{ssh}");
        }
    }

    /// What is encrypted to the key that we make of the public half, the key of the private half opens.
    #[test]
    fn age_itself_agrees() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};

        use bech32::Hrp;
        use sha2::{Digest as _, Sha512};

        let dir = tempfile::tempdir().unwrap();
        let (key, identity) = (dir.path().join("key"), dir.path().join("identity"));
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let recipient = recipient(&public).unwrap();

        // The private half stands before the public one, at the file's end; age's is its hash (RFC 8032, 5.1.5).
        let file = std::fs::read_to_string(&key).unwrap();
        let blob: String = file.lines().filter(|line| !line.starts_with('-')).collect();
        let blob = STANDARD.decode(blob).unwrap();
        let point = &STANDARD.decode(public.split(' ').nth(1).unwrap()).unwrap()[19..];
        let at = blob.windows(32).rposition(|window| window == point).unwrap();
        let secret = &Sha512::digest(&blob[at - 32..at])[..32];
        let secret = bech32::encode_upper::<Bech32>(Hrp::parse("age-secret-key-").unwrap(), secret).unwrap();
        std::fs::write(&identity, secret).unwrap();

        let told = Command::new("age-keygen").arg("-y").arg(&identity).output();
        let told = told.expect("age is needed: run scripts/setup --test");
        assert_eq!(String::from_utf8(told.stdout).unwrap().trim(), recipient);
        let script = "age -r \"$0\" | age -d -i \"$1\"";
        let mut both = Command::new("sh")
            .args(["-c", script, &recipient])
            .arg(&identity)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        both.stdin.take().unwrap().write_all(b"secret").unwrap();
        assert_eq!(both.wait_with_output().unwrap().stdout, b"secret");
    }

    #[test]
    fn what_is_no_such_key() {
        for (text, error) in [
            ("", AgeKeyError::Kind),
            ("ssh-rsa AAAAB3NzaC1yc2E", AgeKeyError::Kind),
            ("ssh-ed25519", AgeKeyError::Damaged),
            ("ssh-ed25519 %%%", AgeKeyError::Damaged),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOHz", AgeKeyError::Damaged),
            // No point of the curve has this y, 2.
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                AgeKeyError::Damaged,
            ),
            // The neutral point.
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                AgeKeyError::Weak,
            ),
        ] {
            assert_eq!(recipient(text), Err(error), "{text}");
        }
    }
}
