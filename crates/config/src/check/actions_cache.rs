//! The cache service of CI jobs: whether its limits make sense, whether its bucket can be asked, and whether any job uses it.

use std::time::Duration;

use fireactions_model::is_private;
use url::Host;

use super::{At, Check};
use crate::{ActionsCacheS3Config, Config, ForgeRef};

/// Less is a mistake: an entry must outlive the time between two jobs.
const SHORTEST: Duration = Duration::from_secs(60);

impl Check<'_> {
    pub(super) fn actions_cache(&mut self, config: &Config) {
        let (at, cache) = (At::root().key("actions_cache"), &config.actions_cache);
        if cache.max_repository_mib > cache.max_size_mib && cache.max_size_mib > 0 {
            let (own, all) = (cache.max_repository_mib, cache.max_size_mib);
            // Where it is said: one of the two may be the default.
            let keys = ["max_repository_mib", "max_size_mib"].map(|key| at.key(key));
            let [first, second] = if self.find(&["actions_cache", "max_repository_mib"]).is_some() {
                keys
            } else {
                let [repository, size] = keys;
                [size, repository]
            };
            self.error(
                &first,
                &[&second],
                format!("one repository may have {own} MiB, and all together {all} MiB"),
                "make actions_cache.max_size_mib larger, or max_repository_mib smaller",
            );
        }
        if cache.unused_for.0 < SHORTEST {
            self.error(
                &at.key("unused_for"),
                &[],
                format!("entries that no job used for {} would go before the next job", cache.unused_for),
                "write a minute or more, such as 7d",
            );
        }
        if let Some(s3) = &cache.s3 {
            self.bucket(&at.key("s3"), s3);
        }
        let has_users = config.forges().iter().any(|(_, forge)| !matches!(forge, ForgeRef::Github(_)))
            || config.pools().iter().any(|pool| pool.scale_set().is_some());
        if cache.enabled && !has_users {
            self.warn(
                &at.key("enabled"),
                "no job will use the cache: only jobs of a Gitea, of a Forgejo, and of GitHub's scale sets do",
                "remove it, or configure 'gitea' or 'forgejo', or write 'runner: {scale_set: true}' in a pool of GitHub",
            );
        }
    }

    fn bucket(&mut self, at: &At, s3: &ActionsCacheS3Config) {
        let mut wrong = |key: &'static str, what: &str, help: &str| {
            let key = at.key(key);
            let message = format!("{key} is not {what}");
            self.error(&key, &[], message, help);
        };
        if !is_bucket(&s3.bucket) {
            wrong(
                "bucket",
                "a bucket's name",
                "use 3 to 63 of a-z 0-9 . -, with a letter or digit first and last",
            );
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=63).contains(&s3.region.len()) || !s3.region.bytes().all(plain) {
            wrong("region", "a region's name", "use 1 to 63 of A-Z a-z 0-9 -, such as eu-central-1");
        }
        if !is_prefix(&s3.prefix) {
            wrong(
                "prefix",
                "what objects' names can begin with",
                "use words of A-Z a-z 0-9 . _ - with / between them, such as ci/cache",
            );
        }
        if !(1..=128).contains(&s3.access_key_id.len())
            || !s3.access_key_id.bytes().all(|byte| byte.is_ascii_graphic())
        {
            wrong(
                "access_key_id",
                "the id of a key",
                "use 1 to 128 visible ASCII characters; the secret goes into a file of its own",
            );
        }
        let Some(url) = &s3.endpoint else { return };
        let key = at.key("endpoint");
        let has_more = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
        if has_more || url.fragment().is_some() || url.path() != "/" {
            self.error(
                &key,
                &[],
                format!("{key} is more than a host and a port"),
                "write https://HOST:PORT; bucket and keys have places of their own below 's3:'",
            );
        } else if !is_private(url) && !s3.insecure_http {
            self.error(
                &key,
                &[&at.key("insecure_http")],
                format!("{key} does not use https, so anybody on the network path could read and change what jobs save"),
                format!(
                    "write https://HOST:PORT; put your own certificate authority into {at}.ca_file; if the network path is safe, set 'insecure_http: true'"
                ),
            );
        } else if !s3.path_style && !matches!(url.host(), Some(Host::Domain(_))) {
            self.error(
                &key,
                &[&at.key("path_style")],
                format!("{key} is a number, and a bucket's name cannot be a part of one"),
                "write the server's name, or remove 'path_style: false'",
            );
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let [first, last] = [name.bytes().next(), name.bytes().last()];
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || b".-".contains(&byte))
        && [first, last].into_iter().flatten().all(plain)
}

fn is_prefix(prefix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let word = |word: &str| !matches!(word, "" | "." | "..") && word.bytes().all(plain);
    let own = prefix.strip_suffix('/').unwrap_or(prefix);
    prefix.len() <= 256 && (prefix.is_empty() || own.split('/').all(word))
}
